"""The bare limit of a sink in Python: Avro to the bytes of a binary COPY, a temporary table, INSERT … ON CONFLICT.

It writes the same columns and the same provenance as Sluice, and no value becomes a Python object on the way. It keeps
no tombstones, fences no other process, and its guard is that the newest record of a batch wins. Argument 1: the file
with the job; 2: the number of this process.
"""

import json
import sys
from struct import Struct
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition

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
COPY_HEAD, COPY_TAIL = b"PGCOPY\n\xff\r\n\x00" + bytes(8), b"\xff\xff"
ROW_HEAD = len(COLUMNS).to_bytes(2, "big")
NULL = b"\xff\xff\xff\xff"
DAYS, MICROSECONDS = 10_957, 946_684_800_000_000  # from 1970 to 2000, where Postgres's dates start
INT4, INT8, LENGTH = Struct(">ii").pack, Struct(">iq").pack, Struct(">i").pack
NUMERIC = [Struct(f">i{4 + digits}H").pack for digits in range(12)]


def number(data: bytes, at: int) -> tuple[int, int]:
    """An Avro int or long, and the index after it."""
    byte = data[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    found, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 128:
            return (found >> 1) ^ -(found & 1), at
        shift += 7


def text(data: bytes, at: int) -> tuple[bytes, int]:
    """Avro bytes or a string, and the index after it."""
    byte = data[at]
    if byte < 128:
        at += 1
        end = at + (byte >> 1)
    else:
        length, at = number(data, at)
        end = at + length
    return data[at:end], end


def field(value: bytes) -> bytes:
    """A field of the row: its size, then its bytes."""
    return LENGTH(len(value)) + value


def nullable_field(data: bytes, at: int) -> tuple[bytes, int]:
    """A nullable Avro string as a field of the row, and the index after it."""
    if not data[at]:
        return NULL, at + 1
    value, at = text(data, at + 1)
    return field(value), at


def numeric(unscaled: bytes) -> bytes:
    """A decimal of scale 4 as a field of type numeric, which has digits of base 10,000. `unscaled`: Avro's bytes."""
    value = int.from_bytes(unscaled, "big", signed=True)
    sign, value = (0x4000, -value) if value < 0 else (0, value)
    digits = []
    while value:
        value, digit = divmod(value, 10_000)
        digits.append(digit)
    count = len(digits)
    digits.reverse()
    # The weight of the first digit: the last one is the fraction, of weight -1.
    return NUMERIC[count](8 + 2 * count, count, (count - 2) & 0xFFFF if count else 0, sign, 4, *digits)


def quoted(value: bytes) -> bytes:
    """UTF-8 text as a JSON string."""
    if b'"' in value or b"\\" in value or min(value, default=32) < 32:
        return json.dumps(value.decode(), ensure_ascii=False).encode()
    return b'"%b"' % value


def row(key: bytes, data: bytes, partition: int, offset: int) -> bytes:
    """The row of a canonical record, as bytes of a binary COPY."""
    entry_number, at = text(data, 5)
    cost_centre, at = text(data, at)
    employee, at = nullable_field(data, at)
    booked_on, at = number(data, at)
    changed_at, at = number(data, at)
    amount, at = text(data, at)
    currency, at = text(data, at)
    quantity, at = number(data, at)
    rate, at = text(data, at)
    description, at = nullable_field(data, at)
    revision, at = number(data, at)
    updated_at, at = number(data, at)
    contributors, at = contributors_json(data, at)
    winners, at = winners_json(data, at)
    return b"".join(
        (
            ROW_HEAD,
            field(key),
            field(entry_number),
            field(cost_centre),
            employee,
            INT4(4, booked_on - DAYS),
            INT8(8, changed_at - MICROSECONDS),
            numeric(amount),
            field(currency),
            INT8(8, quantity),
            numeric(rate),
            description,
            INT8(8, revision),
            INT8(8, updated_at - MICROSECONDS),
            INT4(4, 1),
            INT4(4, partition),
            INT8(8, offset),
            field(b'\x01{"contributors":[%b],"winners":[%b]}' % (contributors, winners)),
        )
    )


def contributors_json(data: bytes, at: int) -> tuple[bytes, int]:
    """The items of the array of contributors as JSON, and the index after the array."""
    parts = []
    count, at = number(data, at)
    while count:
        for _ in range(count):
            source, at = text(data, at)
            stream, at = text(data, at)
            source_key, at = text(data, at)
            mapping, at = text(data, at)
            version, at = number(data, at)
            topic, at = text(data, at)
            partition, at = number(data, at)
            offset, at = number(data, at)
            observed_at, at = number(data, at)
            effective_at = b"null"
            at += 1
            if data[at - 1]:
                found, at = number(data, at)
                effective_at = b"%d" % found
            parts.append(
                b'{"source":"%b","stream":"%b","source_key":%b,"mapping":"%b","mapping_version":%d,"topic":"%b",'
                b'"partition":%d,"offset":%d,"observed_at":%d,"effective_at":%b}'
                % (
                    source,
                    stream,
                    quoted(source_key),
                    mapping,
                    version,
                    topic,
                    partition,
                    offset,
                    observed_at,
                    effective_at,
                )
            )
        count, at = number(data, at)
    return b",".join(parts), at


# JSON by Avro bytes: the winners are the same in nearly all records, so few different ones are translated.
_winners: dict[bytes, bytes] = {}


def winners_json(data: bytes, at: int) -> tuple[bytes, int]:
    """The items of the array of winners, which ends the record, as JSON, and the index after the array."""
    encoded = data[at:]
    known = _winners.get(encoded)
    if known is not None:
        return known, len(data)
    parts = []
    count, at = number(data, at)
    while count:
        for _ in range(count):
            name, at = text(data, at)
            contributor, at = number(data, at)
            rule, at = text(data, at)
            parts.append(b'{"field":"%b","contributor":%d,"rule":"%b"}' % (name, contributor, rule))
        count, at = number(data, at)
    found = b",".join(parts)
    if len(_winners) < 1_000:
        _winners[encoded] = found
    return found, at


def connected(dsn: str, table: str) -> psycopg.Connection:
    """A connection on which the target table and the temporary table `incoming` exist."""
    declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    connection = psycopg.connect(dsn)
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({declared}, PRIMARY KEY (entity_id))")
    connection.execute(f"CREATE TEMP TABLE incoming ({declared}) ON COMMIT DELETE ROWS")
    connection.commit()
    return connection


def subscribed(job: dict[str, Any]) -> Consumer:
    """A consumer of the canonical records."""
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
    return consumer


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    [topic], table, names = job["inputs"], job["table"], ", ".join(COLUMNS)
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    upsert = (  # the names are the harness's own
        f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming ORDER BY entity_id"  # noqa: S608
        f" ON CONFLICT (entity_id) DO UPDATE SET {changes}"
    )
    connection, consumer = connected(job["dsn"], table), subscribed(job)
    while True:
        messages = consumer.consume(BATCH, 0.1)
        if not messages:
            continue
        rows: dict[bytes, bytes] = {}
        next_offsets: dict[int, int] = {}
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            key, partition, offset = message.key(), message.partition(), message.offset()
            rows[key] = row(key, message.value(), partition, offset)
            next_offsets[partition] = offset + 1
        cursor = connection.cursor()
        with cursor.copy(f"COPY incoming ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(b"".join((COPY_HEAD, *rows.values(), COPY_TAIL)))
        cursor.execute(upsert)
        connection.commit()
        consumer.commit(offsets=[TopicPartition(topic, *at) for at in next_offsets.items()], asynchronous=True)


main()
