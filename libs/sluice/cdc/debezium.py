"""Writes change events that a Debezium consumer can read: `schemas.enable=false`, keys and values as compact JSON.

One `TableEvents` writes the events of one shape of a table; after a Relation message with another shape, a new one
does. It writes the bytes straight from Postgres' text values. `pgoutput` decodes its input, and
`sluice_ingress_cdc.assembler` makes raw records of its output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum, auto
from typing import NamedTuple

import orjson
import structlog

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.event_form import DEFAULT_FORM, EventForm
from sluice.cdc.pgoutput import NEW_ROW_AT, UNCHANGED, Delete, Insert, Relation, Row, Update, Value
from sluice.cdc.row_code import compile_row
from sluice.errors import Bug, SluiceError
from sluice.headers import NEW_KEY_HEADER, OLD_KEY_HEADER, ROW_GONE_HEADER, UNCHANGED_HEADER, UNKNOWN_HEADER

UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLE_JSON = orjson.dumps(UNAVAILABLE)
_INSERT = b"I"[0]


class NoRow(Enum):
    """Why the current row of a key could not be read from the source."""

    DELETED = auto()
    UNREADABLE = auto()


RereadRow = Callable[["TableEvents", Sequence[bytes]], "Row | NoRow"]
"""Effect: read the current row of a table with a primary key (text values, in key order) from the source."""

log = structlog.get_logger()


class CannotFollow(SluiceError):
    """The events of a table lack a value that its records need: the table must be blocked. `why`: a text for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class EventSource(NamedTuple):
    """The values of `source` that all events of one followed source share. `name`: Debezium's `topic.prefix`."""

    version: str
    name: str
    database: str


class TransactionInfo(NamedTuple):
    """The transaction of an event. `committed_us`: µs since 1970. `previous_commit_lsn`: the LSN of the commit before;
    None if not known. `snapshot`: the event is a row of a snapshot."""

    committed_us: int
    xid: int | None
    previous_commit_lsn: int | None
    snapshot: bool = False


class ChangeEvent(NamedTuple):
    """One record: its key, its envelope (None: a tombstone), and its headers (a changed key, columns without a
    value)."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class TableEvents:
    """Writes the events of one table in one shape.

    `key_columns`: the primary key in its declared order. `reread`: the columns whose last published value may be wrong.
    If an update leaves out such a column, its value is read again from the source. Raises CannotFollow if the shape
    lacks a key column.
    """

    def __init__(
        self,
        source: EventSource,
        relation: Relation,
        key_columns: Sequence[str],
        types: Mapping[int, PgType],
        reread: Set[str] = frozenset(),
        form: EventForm = DEFAULT_FORM,
    ) -> None:
        names = [c.name for c in relation.columns]
        self.relation = relation
        self.key_columns = tuple(key_columns)
        self._key_at = _indexes(names, key_columns)
        self._identity_at = [i for i, c in enumerate(relation.columns) if c.in_identity]
        self._reread_at = {i for i, name in enumerate(names) if name in reread}
        self._writers = [json_writer(types, c.type_oid, c.typmod, form) for c in relation.columns]
        self._row_template = _template(names)
        self._key_template = _template(key_columns)
        self._identity_template = _template([names[i] for i in self._identity_at])
        self._envelope = _envelope_template(source, relation)
        self._new_row = compile_row(
            f"{relation.schema}.{relation.table}", self._writers, self._key_at, self._key_template, self._row_template
        )
        self._transaction: TransactionInfo | None = None
        self._head = self._tail = b""
        self._unreadable: set[str] = set()

    def encode_new_row(self, message: bytes, transaction: TransactionInfo, lsn: int) -> tuple[bytes, bytes] | None:
        """The key and the value for an insert, or for an update without an old row, straight from the plugin's message.

        The result equals that of `inserted` or `updated`, in half the time. None if the change needs these methods: it
        leaves columns out, or contains a value that its writer cannot read.
        """
        try:
            row = self._new_row(message, NEW_ROW_AT)
        except Bug:
            raise
        except Exception:
            # A writer may raise any error for a value that it cannot read. `inserted` and `updated` publish such a
            # value as text. They raise Bug if the message itself is misread.
            return None
        if row is None:
            return None
        key, after = row
        return key, self._value(b"null", after, b"c" if message[0] == _INSERT else b"u", transaction, lsn)

    def inserted(self, event: Insert, transaction: TransactionInfo, lsn: int) -> list[ChangeEvent]:
        return [self._change(event.new, b"null", b"c", transaction, lsn)]

    def snapshot_row(self, row: Row, transaction: TransactionInfo, lsn: int) -> ChangeEvent:
        return self._change(row, b"null", b"r", transaction, lsn)

    def updated(
        self, event: Update, transaction: TransactionInfo, lsn: int, reread_row: RereadRow
    ) -> list[ChangeEvent]:
        """One event; or three if the primary key changed: delete and tombstone of the old key, then a create.

        The mapper keeps unchanged values per key and has none for a new key. Therefore the row is read again from the
        source if the key changed and a column is left out, or if a column of `reread` is left out. The row that is read
        may be newer than this event; then the event of the newer change follows later.
        """
        new = self._fill(event)
        moved = bool(event.old_kind) and self._key_values(event.old) != self._key_values(new)
        left_out = [i for i, value in enumerate(new) if value is UNCHANGED]
        wanted = left_out if moved else [i for i in left_out if i in self._reread_at]
        headers: list[tuple[str, bytes]] = []
        if wanted:
            new, headers = self._reread(new, wanted, reread_row)
        kept = [i for i in left_out if i not in wanted]
        if kept:
            headers.append((UNCHANGED_HEADER, self._names(kept)))
        if not moved:
            before = self._row(event.old) if event.old_kind == "O" else b"null"
            return [self._change(new, before, b"u", transaction, lsn)._replace(headers=tuple(headers))]
        old_key, new_key = self.key(event.old), self.key(new)
        deleted = self._delete(old_key, event.old_kind, event.old, transaction, lsn)
        created = self._change(new, b"null", b"c", transaction, lsn)
        return [
            deleted._replace(headers=((NEW_KEY_HEADER, new_key),)),
            ChangeEvent(old_key, None),
            created._replace(headers=((OLD_KEY_HEADER, old_key), *headers)),
        ]

    def deleted(self, event: Delete, transaction: TransactionInfo, lsn: int) -> list[ChangeEvent]:
        """The delete event and its tombstone. `before` of the event contains the columns of the replica identity."""
        key = self.key(event.old)
        return [self._delete(key, event.old_kind, event.old, transaction, lsn), ChangeEvent(key, None)]

    def key(self, row: Row) -> bytes:
        """The record's key for `row`. Raises CannotFollow if a key column has no value, because the replica identity
        lacks it."""
        for at, name in zip(self._key_at, self.key_columns, strict=True):
            if not isinstance(row[at], bytes):
                raise CannotFollow(f"a change came without a value of the primary key's column {name}")
        return self._key_template % tuple([self._json(at, row[at]) for at in self._key_at])

    def _reread(self, new: Row, wanted: list[int], reread_row: RereadRow) -> tuple[Row, list[tuple[str, bytes]]]:
        """The row `new`, completed with the current values of the `wanted` columns in the source. If these cannot be
        read, `new` itself and headers that name the columns as unknown."""
        key = [v for v in self._key_values(new) if isinstance(v, bytes)]
        if len(key) < len(self._key_at):
            raise CannotFollow("an update came without its whole primary key")
        current = reread_row(self, key)
        if not isinstance(current, NoRow):
            return [current[i] if i in wanted else v for i, v in enumerate(new)], []
        deleted = [(ROW_GONE_HEADER, b"1")] if current is NoRow.DELETED else []
        return new, [(UNKNOWN_HEADER, self._names(wanted)), *deleted]

    def _delete(self, key: bytes, old_kind: str, old: Row, transaction: TransactionInfo, lsn: int) -> ChangeEvent:
        before = self._row(old) if old_kind == "O" else self._identity(old)
        return ChangeEvent(key, self._value(before, b"null", b"d", transaction, lsn))

    def _change(self, row: Row, before: bytes, op: bytes, transaction: TransactionInfo, lsn: int) -> ChangeEvent:
        return ChangeEvent(self.key(row), self._value(before, self._row(row), op, transaction, lsn))

    def _fill(self, event: Update) -> Row:
        """The new row of an update. An unchanged value is taken from the old row if the old row contains it."""
        if UNCHANGED not in event.new or not event.old_kind:
            return event.new
        new = list(event.new)
        for i in range(len(new)) if event.old_kind == "O" else self._identity_at:
            if new[i] is UNCHANGED:
                new[i] = event.old[i]
        return new

    def _names(self, at: Sequence[int]) -> bytes:
        return orjson.dumps([self.relation.columns[i].name for i in at])

    def _key_values(self, row: Row) -> list[Value]:
        return [row[i] for i in self._key_at]

    def _row(self, row: Row) -> bytes:
        try:
            return self._row_template % tuple(
                [w(v) if v.__class__ is bytes else _absent(v) for w, v in zip(self._writers, row, strict=True)]
            )
        except Exception:  # a value that its writer cannot read: column by column
            if len(row) != len(self._writers):
                raise Bug("pgoutput: a row with another number of columns than its relation") from None
            return self._row_template % tuple([self._json(i, value) for i, value in enumerate(row)])

    def _identity(self, row: Row) -> bytes:
        return self._identity_template % tuple([self._json(i, row[i]) for i in self._identity_at])

    def _json(self, at: int, value: Value) -> bytes:
        """The JSON of a column's value. A text that the column's writer cannot read becomes a JSON string."""
        if not isinstance(value, bytes):
            return _absent(value)
        try:
            return self._writers[at](value)
        except Exception:
            self._log_unreadable(at)
            return orjson.dumps(value.decode("utf-8", "replace"))

    def _log_unreadable(self, at: int) -> None:
        """Log once for each column that its values are published as text; never log a value."""
        column = self.relation.columns[at]
        if column.name not in self._unreadable:
            self._unreadable.add(column.name)
            table = f"{self.relation.schema}.{self.relation.table}"
            log.warning("value published as text", table=table, column=column.name, type_oid=column.type_oid)

    def _value(self, before: bytes, after: bytes, op: bytes, transaction: TransactionInfo, lsn: int) -> bytes:
        if self._transaction is not transaction:
            # The rows of one transaction share nearly all of the envelope.
            self._transaction = transaction
            self._head, self._tail = self._envelope % _transaction_fields(transaction), _tail(time.time_ns())
        head, tail = self._head, self._tail
        return b'{"before":%b,"after":%b,%b%d\\"]","lsn":%d},"op":"%b",%b' % (before, after, head, lsn, lsn, op, tail)


def _indexes(names: list[str], key_columns: Sequence[str]) -> list[int]:
    missing = [k for k in key_columns if k not in names]
    if missing:
        raise CannotFollow(f"its primary key column {missing[0]} is not among the columns that are replicated")
    return [names.index(k) for k in key_columns]


def _absent(value: Value) -> bytes:
    return b"null" if value is None else _UNAVAILABLE_JSON


def _template(names: Sequence[str]) -> bytes:
    """A template such as `{"a":%b,"b":%b}`, which is filled with the JSON of the values."""
    return b"{%b}" % b",".join(orjson.dumps(n).replace(b"%", b"%%") + b":%b" for n in names)


def _envelope_template(source: EventSource, relation: Relation) -> bytes:
    """The template of the envelope from `"source":{` up to the place of the event's LSN in `sequence`. The value of
    `sequence` is JSON within a string."""
    constant = {
        "version": source.version,
        "connector": "postgresql",
        "name": source.name,
        "db": source.database,
        "schema": relation.schema,
        "table": relation.table,
        "xmin": None,
    }
    text = orjson.dumps(constant).replace(b"%", b"%%")[:-1]
    each = b',"ts_ms":%d,"ts_us":%d,"ts_ns":%d,"snapshot":"%b","txId":%b,"sequence":"[%b,\\"'
    return b'"source":' + text + each


def _transaction_fields(transaction: TransactionInfo) -> tuple[int, int, int, bytes, bytes, bytes]:
    us, previous = transaction.committed_us, transaction.previous_commit_lsn
    return (
        us // 1_000,
        us,
        us * 1_000,
        b"true" if transaction.snapshot else b"false",
        b"null" if transaction.xid is None else b"%d" % transaction.xid,
        b"null" if previous is None else b'\\"%d\\"' % previous,
    )


def _tail(now_ns: int) -> bytes:
    """The end of the envelope: the time when this process read the transaction, and `transaction`, always null."""
    return b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d,"transaction":null}' % (now_ns // 1_000_000, now_ns // 1_000, now_ns)
