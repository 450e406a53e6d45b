"""The records that are not of a table, as Debezium writes them: logical messages, transactions and heartbeats.

They have topics of their own, because a compacted topic takes no record without a key of a row. The assembler decides
when each is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from sluice.cdc.converter import RecordConverter, RegisterSchema
from sluice.cdc.envelope import (
    Envelope,
    EventSource,
    TransactionInfo,
    message_key,
    message_value,
    source_of,
    transaction_block,
)
from sluice.cdc.event_form import EventForm
from sluice.cdc.event_schema import HEARTBEAT, TRANSACTION, RecordSchemas, message_schemas
from sluice.cdc.pgoutput import Message
from sluice.cdc.values.binaries import encoded_bytes
from sluice.debezium_settings import DebeziumSettings
from sluice.debezium_settings.selection import matches
from sluice.debezium_settings.topics import heartbeats_name, transactions_name
from sluice.names import Names

OWN_PREFIX = "sluice."
"""Logical messages of Sluice itself have a prefix that begins so. They are not published."""
DDL_PREFIX = "sluice.ddl"
"""The prefix of the message that Sluice's event trigger writes at each change of the schema."""
MESSAGES = "message"
"""The name under which logical messages are counted. Debezium writes the name and the address of an object."""


@dataclass(frozen=True, slots=True)
class OtherTopics:
    """The topics of a source that are not of a table; None if a topic is not written. `prefixes` and
    `not_prefixes`: regular expressions for the prefixes of logical messages."""

    messages: str | None = None
    transactions: str | None = None
    heartbeats: str | None = None
    heartbeat_s: float = 0.0
    prefixes: tuple[str, ...] = ()
    not_prefixes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [topic for topic in (self.messages, self.transactions, self.heartbeats) if topic is not None]

    def publishes(self, prefix: str) -> bool:
        """Whether logical messages with this prefix are published."""
        if self.messages is None or prefix.startswith(OWN_PREFIX):
            return False
        if self.prefixes:
            return matches(self.prefixes, prefix)
        return not matches(self.not_prefixes, prefix)


def other_topics(names: Names, source: str, settings: DebeziumSettings | None) -> OtherTopics:
    """The topics that the Debezium settings of a source require; none without settings."""
    if settings is None:
        return OtherTopics()
    transactions, heartbeats = transactions_name(settings), heartbeats_name(settings)
    return OtherTopics(
        messages=names.messages(source),
        transactions=None if transactions is None else names.transactions(source, transactions),
        heartbeats=None if heartbeats is None else names.heartbeats(source, heartbeats),
        heartbeat_s=settings.number("heartbeat.interval.ms") / 1000,
        prefixes=settings.names("message.prefix.include.list"),
        not_prefixes=settings.names("message.prefix.exclude.list"),
    )


class TransactionCounts:
    """Counts the published events of one transaction. `by_table`: the events so far, by the name of their table."""

    def __init__(self, by_table: Mapping[str, int]) -> None:
        self.by_table = dict(by_table)
        self.total = sum(by_table.values())

    def next_block(self, table: str, transaction: TransactionInfo, lsn: int) -> bytes:
        """The `transaction` of the next event of `table`."""
        return transaction_block(f"{transaction.xid}:{lsn}", self.total + 1, self.by_table.get(table, 0) + 1)

    def count(self, table: str) -> None:
        self.total += 1
        self.by_table[table] = self.by_table.get(table, 0) + 1


class OtherRecords:
    """Writes the keys and values of the records for one source. Raises EnvironmentFault if the registry does not take
    their Avro schemas."""

    def __init__(self, source: EventSource, form: EventForm, topics: OtherTopics, register: RegisterSchema) -> None:
        self._server = source.name
        self._form = form
        self._envelope = Envelope(source, "", "", form)

        def converter(topic: str | None, schemas: RecordSchemas) -> RecordConverter | None:
            return None if topic is None else RecordConverter(topic, schemas, form, register)

        self._messages = converter(topics.messages, message_schemas(form))
        self._transactions = converter(topics.transactions, TRANSACTION)
        self._heartbeats = converter(topics.heartbeats, HEARTBEAT)

    def message(
        self, message: Message, transaction: TransactionInfo, lsn: int, block: bytes = b"null"
    ) -> tuple[bytes, bytes]:
        """The event of a logical message at `lsn`. `block`: its place in the transaction."""
        place = b"%d" % lsn
        source = source_of(self._envelope.parts(transaction), place, place)
        content = encoded_bytes(self._form, message.content)
        value = message_value(source, message.prefix, content, block)
        return _converted(self._messages, message_key(message.prefix), value)

    def begin(self, transaction: TransactionInfo, lsn: int) -> tuple[bytes, bytes]:
        """The start of a transaction, whose first message in the log is at `lsn`."""
        return _converted(self._transactions, *_transaction("BEGIN", transaction, lsn, None, None))

    def end(self, transaction: TransactionInfo, lsn: int, counts: TransactionCounts) -> tuple[bytes, bytes]:
        """The end of a transaction. `lsn`: the end of its commit record."""
        tables = [{"data_collection": table, "event_count": count} for table, count in counts.by_table.items()]
        return _converted(self._transactions, *_transaction("END", transaction, lsn, counts.total, tables))

    def heartbeat(self, now_ms: int) -> tuple[bytes, bytes]:
        key, value = orjson.dumps({"serverName": self._server}), orjson.dumps({"ts_ms": now_ms})
        return _converted(self._heartbeats, key, value)


def _converted(converter: RecordConverter | None, key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The record in the encoding of the source's events."""
    return (key, value) if converter is None else (converter.key(key), converter.value(value))


def _transaction(
    status: str, transaction: TransactionInfo, lsn: int, events: int | None, tables: list[dict[str, object]] | None
) -> tuple[bytes, bytes]:
    number = f"{transaction.xid}:{lsn}"
    value = {
        "status": status,
        "id": number,
        "event_count": events,
        "data_collections": tables,
        "ts_ms": transaction.committed_us // 1_000,
    }
    return orjson.dumps({"id": number}), orjson.dumps(value)
