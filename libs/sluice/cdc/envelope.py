"""The envelope of change events: what stands around the rows, as bytes.

An envelope is written as one template per table and kind of event. The parts that the events of one transaction share
are made once: `EnvelopeParts`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal, NamedTuple

import orjson

from sluice.cdc.event_form import EventForm

SnapshotMark = Literal[
    "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "false", "incremental"
]


class EventSource(NamedTuple):
    """The values of `source` that all events of one followed source share. `name`: Debezium's `topic.prefix`."""

    version: str
    name: str
    database: str


class TransactionInfo(NamedTuple):
    """The transaction of an event. `committed_us`: µs since 1970. `previous_commit_lsn`: the end of the commit before;
    None if not known. `snapshot`: whether the event is a row of a snapshot, and which one. `origin` and `origin_lsn`:
    the replication origin of the transaction."""

    committed_us: int
    xid: int | None
    previous_commit_lsn: int | None
    snapshot: SnapshotMark = "false"
    origin: str | None = None
    origin_lsn: int | None = None


class EnvelopeParts(NamedTuple):
    """What the events of one table and transaction share. The order in an event: `head`, LSN, `middle`, LSN, `close`,
    the transaction block, the operation, `tail`."""

    head: bytes
    middle: bytes
    close: bytes
    tail: bytes


# The places of the envelope's parts after the rows. `%%b` becomes a place when the operation is filled in.
_REST = b'"source":%%b%%b%%b%%b%%b,"transaction":%%b,"op":"%b",%%b'
REST_VALUES = "head, lsn, middle, source_lsn, close, block, tail"
"""The names of the values for the places, for generated code."""


def value_template(before: bytes, after: bytes, op: bytes) -> bytes:
    """The template of an event's value. `before` and `after`: `null`, or templates of rows."""
    return b'{"before":%b,"after":%b,%b' % (before, after, _REST % op)


def rows_template(row: bytes) -> bytes:
    """The template of a snapshot row's value. `row`: the template of the row. The last place is that of `read_rest`."""
    return b'{"before":null,"after":%b,%%b' % row


def read_rest(parts: EnvelopeParts, lsn: bytes, source_lsn: bytes, block: bytes = b"null") -> bytes:
    """What snapshot rows have after the row, if they share a transaction and an LSN."""
    return (_REST % b"r") % (parts.head, lsn, parts.middle, source_lsn, parts.close, block, parts.tail)


def template_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A template such as `{"a":%b,"b":%b}`. `members`: names, and places or literals."""
    return b"{%b}" % b",".join(literal(orjson.dumps(name)) + b":" + value for name, value in members)


def literal(text: bytes) -> bytes:
    """The text as a part of a template that has no places in it."""
    return text.replace(b"%", b"%%")


class Envelope:
    """Makes the parts of envelopes for one table."""

    def __init__(self, source: EventSource, schema: str, table: str, form: EventForm) -> None:
        start = {"version": source.version, "connector": "postgresql", "name": source.name}
        self._start = orjson.dumps(start)[:-1]
        self._database = orjson.dumps(source.database)
        self._table = b'"schema":%b,"table":%b' % (orjson.dumps(schema), orjson.dumps(table))
        self._has_origin = form.debezium

    def parts(self, transaction: TransactionInfo) -> EnvelopeParts:
        """The parts for the events of `transaction` that this process writes now."""
        us, previous = transaction.committed_us, transaction.previous_commit_lsn
        head = b'%b,"ts_ms":%d,"snapshot":"%b","db":%b,"sequence":"[%b,\\"' % (
            self._start,
            us // 1_000,
            transaction.snapshot.encode(),
            self._database,
            b"null" if previous is None else b'\\"%d\\"' % previous,
        )
        middle = b'\\"]","ts_us":%d,"ts_ns":%d,%b,"txId":%b,"lsn":' % (
            us,
            us * 1_000,
            self._table,
            b"null" if transaction.xid is None else b"%d" % transaction.xid,
        )
        return EnvelopeParts(head, middle, self._close(transaction), _tail(time.time_ns()))

    def _close(self, transaction: TransactionInfo) -> bytes:
        if not self._has_origin:
            return b',"xmin":null}'
        lsn = b"null" if transaction.origin_lsn is None else b"%d" % transaction.origin_lsn
        return b',"xmin":null,"origin":%b,"origin_lsn":%b}' % (orjson.dumps(transaction.origin), lsn)


def source_of(parts: EnvelopeParts, lsn: bytes, source_lsn: bytes) -> bytes:
    """The JSON of `source`. `lsn`: in `sequence`. `source_lsn`: in `lsn`, `null` for rows of incremental snapshots."""
    return b"%b%b%b%b%b" % (parts.head, lsn, parts.middle, source_lsn, parts.close)


def transaction_block(transaction_id: str, total_order: int, data_collection_order: int) -> bytes:
    """The `transaction` of an event: its place among all events of the transaction, and among those of its table."""
    return b'{"id":%b,"total_order":%d,"data_collection_order":%d}' % (
        orjson.dumps(transaction_id),
        total_order,
        data_collection_order,
    )


def message_key(prefix: str) -> bytes:
    """The key of a logical message's event."""
    return orjson.dumps({"prefix": prefix})


def message_value(source: bytes, prefix: str, content: bytes, block: bytes = b"null") -> bytes:
    """The value of a logical message's event. `source`: JSON. `content`: JSON of the content in the form's binaries."""
    return b'{"op":"m","ts_ms":%d,"source":%b,"transaction":%b,"message":{"prefix":%b,"content":%b}}' % (
        time.time_ns() // 1_000_000,
        source,
        block,
        orjson.dumps(prefix),
        content,
    )


def _tail(now_ns: int) -> bytes:
    """The end of the envelope: the time when this process read the transaction."""
    return b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d}' % (now_ns // 1_000_000, now_ns // 1_000, now_ns)
