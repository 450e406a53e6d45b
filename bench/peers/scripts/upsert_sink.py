"""The bare limit of a sink in Python: decode Avro, binary COPY to a temporary table, INSERT … ON CONFLICT.

It writes the same columns and the same provenance as Sluice. It keeps no tombstones, fences no other process, and its
guard is that the newest record of a batch wins. Argument 1: the file with the job; 2: the number of this process.
"""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Consumer, TopicPartition
from psycopg.types.json import set_json_dumps

BATCH = 10_000
COLUMNS = {
    "entity_id": "text",
    "entry_number": "text",
    "cost_centre": "text",
    "employee_number": "text",
    "booked_on": "date",
    "changed_at": "timestamptz",
    "amount_amount": "numeric",
    "amount_currency": "text",
    "quantity": "int8",
    "rate": "numeric",
    "text": "text",
    "_revision": "int8",
    "_updated_at": "timestamptz",
    "_topic_epoch": "int4",
    "_partition": "int4",
    "_offset": "int8",
    "_provenance": "jsonb",
}
DAY = date(1970, 1, 1).toordinal()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
encode = msgspec.json.Encoder().encode


class Reader:
    """Reads Avro's binary encoding. `at`: the place of the next byte."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 5

    def long(self) -> int:
        data, at = self.data, self.at
        byte = data[at]
        at += 1
        found, shift = byte & 0x7F, 7
        while byte & 0x80:
            byte = data[at]
            at += 1
            found |= (byte & 0x7F) << shift
            shift += 7
        self.at = at
        return (found >> 1) ^ -(found & 1)

    def bytes(self) -> bytes:
        length = self.long()
        start = self.at
        self.at = start + length
        return self.data[start : self.at]

    def text(self) -> str:
        return self.bytes().decode()

    def optional_text(self) -> str | None:
        return self.text() if self.long() else None

    def decimal(self) -> Decimal:
        return Decimal(int.from_bytes(self.bytes(), "big", signed=True)).scaleb(-4)

    def timestamp(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.long())


def row(key: bytes, value: bytes, partition: int, offset: int) -> tuple[Any, ...]:
    r = Reader(value)
    entry_number, cost_centre, employee = r.text(), r.text(), r.optional_text()
    booked_on, changed_at = date.fromordinal(DAY + r.long()), r.timestamp()
    amount, currency, quantity, rate, text = r.decimal(), r.text(), r.long(), r.decimal(), r.optional_text()
    revision, updated_at = r.long(), r.timestamp()
    contributors, winners = [], []
    while count := r.long():
        for _ in range(count):
            contributors.append(
                {
                    "source": r.text(),
                    "stream": r.text(),
                    "source_key": r.text(),
                    "mapping": r.text(),
                    "mapping_version": r.long(),
                    "topic": r.text(),
                    "partition": r.long(),
                    "offset": r.long(),
                    "observed_at": r.long(),
                    "effective_at": r.long() if r.long() else None,
                }
            )
    while count := r.long():
        for _ in range(count):
            winners.append({"field": r.text(), "contributor": r.long(), "rule": r.text()})
    provenance = encode({"contributors": contributors, "winners": winners})
    return (
        key.decode(),
        entry_number,
        cost_centre,
        employee,
        booked_on,
        changed_at,
        amount,
        currency,
        quantity,
        rate,
        text,
        revision,
        updated_at,
        1,
        partition,
        offset,
        provenance,
    )


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    set_json_dumps(lambda encoded: encoded)
    table, names = job["table"], ", ".join(COLUMNS)
    declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    upsert = (
        f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming ORDER BY entity_id"  # noqa: S608
        f" ON CONFLICT (entity_id) DO UPDATE SET {changes}"
    )
    connection = psycopg.connect(job["dsn"])
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({declared}, PRIMARY KEY (entity_id))")
    connection.execute(f"CREATE TEMP TABLE incoming ({declared}) ON COMMIT DELETE ROWS")
    connection.commit()
    consumer = Consumer(
        {
            "bootstrap.servers": job["bootstrap_servers"],
            "group.id": job["group"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.min.messages": 100_000,
        }
    )
    consumer.subscribe(job["inputs"])
    while True:
        messages = consumer.consume(BATCH, 0.1)
        if not messages:
            continue
        rows: dict[bytes, tuple[Any, ...]] = {}
        next_offsets: dict[int, int] = {}
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            key, partition, offset = message.key(), message.partition(), message.offset()
            rows[key] = row(key, message.value(), partition, offset)
            next_offsets[partition] = offset + 1
        cursor = connection.cursor()
        with cursor.copy(f"COPY incoming ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(COLUMNS.values()))
            for one in rows.values():
                copy.write_row(one)
        cursor.execute(upsert)
        connection.commit()
        topic = job["inputs"][0]
        consumer.commit(offsets=[TopicPartition(topic, *at) for at in next_offsets.items()], asynchronous=True)


main()
