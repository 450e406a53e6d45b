"""Change events as a Debezium consumer reads them: `schemas.enable=false`, keys and values as compact JSON.

One `TableEvents` per shape of a table (made anew when a Relation message changes it) writes the bytes straight from
Postgres' text values. Between decoder and assembler: `pgoutput` → here → `sluice_ingress_cdc.assembler`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum, auto
from typing import NamedTuple

import orjson
import structlog

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.pgoutput import NEW_ROW_AT, UNCHANGED, Begin, Delete, Insert, Relation, Row, Update, Value
from sluice.cdc.row_code import compile_row
from sluice.errors import Bug, SluiceError
from sluice.headers import NEW_KEY_HEADER, OLD_KEY_HEADER, ROW_GONE_HEADER, UNCHANGED_HEADER, UNKNOWN_HEADER

UNAVAILABLE = "__debezium_unavailable_value"
_UNAVAILABLE_JSON = orjson.dumps(UNAVAILABLE)
_INSERT = b"I"[0]


class Again(Enum):
    """What came of reading a row again, where it is not the row."""

    GONE = auto()
    UNREADABLE = auto()


ReadAgain = Callable[["TableEvents", Sequence[bytes]], "Row | Again"]
"""Effect: the row that has this primary key (text values, in key order) in the source now."""

log = structlog.get_logger()


class CannotFollow(SluiceError):
    """A table's events do not hold what its records need; the table must be held. `why` is for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Source(NamedTuple):
    """What every event of one source says of it; `name` is Debezium's `topic.prefix`."""

    version: str
    name: str
    database: str


class Moment(NamedTuple):
    """The transaction of an event. `previous_commit_lsn` is None where it is not known."""

    committed_us: int
    xid: int | None
    previous_commit_lsn: int | None
    snapshot: bool = False


class Change(NamedTuple):
    """One record: its key, its envelope (None: tombstone), and Debezium's headers of a moved key."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class TableEvents:
    """Writes the events of one table in one shape.

    `key_columns` is the primary key in its declared order. `doubtful`: columns whose value, where an update leaves it
    out, is not what was published under their name before (see `judgement.doubtful_columns`). Raises CannotFollow if
    the shape lacks a key column.
    """

    def __init__(
        self,
        source: Source,
        relation: Relation,
        key_columns: Sequence[str],
        types: Mapping[int, PgType],
        doubtful: Set[str] = frozenset(),
    ) -> None:
        names = [c.name for c in relation.columns]
        self.relation = relation
        self.key_columns = tuple(key_columns)
        self._key_at = _positions(names, key_columns)
        self._identity_at = [i for i, c in enumerate(relation.columns) if c.in_identity]
        self._doubtful_at = {i for i, name in enumerate(names) if name in doubtful}
        self._writers = [json_writer(types, c.type_oid, c.typmod) for c in relation.columns]
        self._row_template = _template(names)
        self._key_template = _template(key_columns)
        self._identity_template = _template([names[i] for i in self._identity_at])
        self._envelope = _envelope_template(source, relation)
        self._new_row = compile_row(self._writers, self._key_at, self._key_template, self._row_template)
        self._moment: Moment | None = None
        self._head = self._tail = b""
        self._unread: set[str] = set()

    def written(self, message: bytes, moment: Moment, lsn: int) -> tuple[bytes, bytes] | None:
        """Key and value of an insert, or of an update without an old row, straight from the plugin's message.

        What `inserted` and `updated` say, in half the time, for the usual change; None for one that is not usual: it
        leaves columns out, or holds a value that no writer reads.
        """
        try:
            row = self._new_row(message, NEW_ROW_AT)
        except Bug:
            raise
        except Exception:
            # Whatever a writer raises over a value: the slow way publishes that value as text. It also tells a
            # message that we misread.
            return None
        if row is None:
            return None
        key, after = row
        return key, self._value(b"null", after, b"c" if message[0] == _INSERT else b"u", moment, lsn)

    def inserted(self, event: Insert, moment: Moment, lsn: int) -> list[Change]:
        return [self._change(event.new, b"null", b"c", moment, lsn)]

    def read(self, row: Row, moment: Moment, lsn: int) -> Change:
        """A row of a snapshot."""
        return self._change(row, b"null", b"r", moment, lsn)

    def updated(self, event: Update, moment: Moment, lsn: int, read_again: ReadAgain) -> list[Change]:
        """One event, or three where the primary key changed: delete and tombstone of the old one, then a create.

        The mapper keeps unchanged values per key and has none for the new one; so a moved row with an unchanged
        column is read again from the source, and so is a row with an unchanged column that is in doubt. What is read
        may be newer than this event: then the newer change is itself on its way.
        """
        new = self._fill(event)
        moved = bool(event.old_kind) and self._key_values(event.old) != self._key_values(new)
        left_out = [i for i, value in enumerate(new) if value is UNCHANGED]
        wanted = left_out if moved else [i for i in left_out if i in self._doubtful_at]
        headers: list[tuple[str, bytes]] = []
        if wanted:
            new, headers = self._read_again(new, wanted, read_again)
        kept = [i for i in left_out if i not in wanted]
        if kept:
            headers.append((UNCHANGED_HEADER, self._names(kept)))
        if not moved:
            before = self._row(event.old) if event.old_kind == "O" else b"null"
            return [self._change(new, before, b"u", moment, lsn)._replace(headers=tuple(headers))]
        old_key, new_key = self.key(event.old), self.key(new)
        gone = self._removal(old_key, event.old_kind, event.old, moment, lsn)
        created = self._change(new, b"null", b"c", moment, lsn)
        return [
            gone._replace(headers=((NEW_KEY_HEADER, new_key),)),
            Change(old_key, None),
            created._replace(headers=((OLD_KEY_HEADER, old_key), *headers)),
        ]

    def deleted(self, event: Delete, moment: Moment, lsn: int) -> list[Change]:
        """The delete and its tombstone. `before` holds what the replica identity carries."""
        key = self.key(event.old)
        return [self._removal(key, event.old_kind, event.old, moment, lsn), Change(key, None)]

    def key(self, row: Row) -> bytes:
        """The record's key. Raises CannotFollow where a key column has no value: the replica identity lacks it."""
        for at, name in zip(self._key_at, self.key_columns, strict=True):
            if not isinstance(row[at], bytes):
                raise CannotFollow(f"a change came without a value of the primary key's column {name}")
        return self._key_template % tuple([self._json(at, row[at]) for at in self._key_at])

    def _read_again(self, new: Row, wanted: list[int], read_again: ReadAgain) -> tuple[Row, list[tuple[str, bytes]]]:
        """`new` with the `wanted` columns as the source has them now, or headers that say why they are unknown."""
        key = [v for v in self._key_values(new) if isinstance(v, bytes)]
        if len(key) < len(self._key_at):
            raise CannotFollow("an update came without its whole primary key")
        again = read_again(self, key)
        if not isinstance(again, Again):
            return [again[i] if i in wanted else v for i, v in enumerate(new)], []
        gone = [(ROW_GONE_HEADER, b"1")] if again is Again.GONE else []
        return new, [(UNKNOWN_HEADER, self._names(wanted)), *gone]

    def _removal(self, key: bytes, old_kind: str, old: Row, moment: Moment, lsn: int) -> Change:
        before = self._row(old) if old_kind == "O" else self._identity(old)
        return Change(key, self._value(before, b"null", b"d", moment, lsn))

    def _change(self, row: Row, before: bytes, op: bytes, moment: Moment, lsn: int) -> Change:
        return Change(self.key(row), self._value(before, self._row(row), op, moment, lsn))

    def _fill(self, event: Update) -> Row:
        """The new row, with unchanged values taken from the old one where that carries them."""
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
        """The column's JSON. A text that its type's writer cannot read is published as the text that it is."""
        if not isinstance(value, bytes):
            return _absent(value)
        try:
            return self._writers[at](value)
        except Exception:
            self._say_unread(at)
            return orjson.dumps(value.decode("utf-8", "replace"))

    def _say_unread(self, at: int) -> None:
        """Once for each column; never the value."""
        column = self.relation.columns[at]
        if column.name not in self._unread:
            self._unread.add(column.name)
            table = f"{self.relation.schema}.{self.relation.table}"
            log.warning("value published as text", table=table, column=column.name, type_oid=column.type_oid)

    def _value(self, before: bytes, after: bytes, op: bytes, moment: Moment, lsn: int) -> bytes:
        if self._moment is not moment:
            # Rows of one transaction share nearly all of this.
            self._moment = moment
            self._head, self._tail = self._envelope % _moment(moment), _tail(time.time_ns())
        head, tail = self._head, self._tail
        return b'{"before":%b,"after":%b,%b%d\\"]","lsn":%d},"op":"%b",%b' % (before, after, head, lsn, lsn, op, tail)


def _positions(names: list[str], key_columns: Sequence[str]) -> list[int]:
    missing = [k for k in key_columns if k not in names]
    if missing:
        raise CannotFollow(f"its primary key column {missing[0]} is not among the columns that are replicated")
    return [names.index(k) for k in key_columns]


def _absent(value: Value) -> bytes:
    return b"null" if value is None else _UNAVAILABLE_JSON


def _template(names: Sequence[str]) -> bytes:
    """`{"a":%b,"b":%b}`, to be filled with the values' JSON."""
    return b"{%b}" % b",".join(orjson.dumps(n).replace(b"%", b"%%") + b":%b" for n in names)


def _envelope_template(source: Source, relation: Relation) -> bytes:
    """`"source":{…` up to the event's own LSN in `sequence`, which holds JSON within a string."""
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


def _moment(moment: Moment) -> tuple[int, int, int, bytes, bytes, bytes]:
    us, previous = moment.committed_us, moment.previous_commit_lsn
    return (
        us // 1_000,
        us,
        us * 1_000,
        b"true" if moment.snapshot else b"false",
        b"null" if moment.xid is None else b"%d" % moment.xid,
        b"null" if previous is None else b'\\"%d\\"' % previous,
    )


def _tail(now_ns: int) -> bytes:
    """When we came to the transaction, by our clock, and what is always null."""
    return b'"ts_ms":%d,"ts_us":%d,"ts_ns":%d,"transaction":null}' % (now_ns // 1_000_000, now_ns // 1_000, now_ns)


def moment_of(begin: Begin, previous_commit_lsn: int | None) -> Moment:
    return Moment(begin.committed_us, begin.xid, previous_commit_lsn)
