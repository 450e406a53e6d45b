"""Decodes the messages of pgoutput, Postgres' own logical decoding plugin: bytes in, values out, no I/O.

Protocol version 1: a transaction arrives as a whole after its commit, in commit order. Column values stay the bytes of
Postgres' text format; `sluice.cdc.column_json` writes them as JSON, for followed tables only.
Layouts: PostgreSQL manual, "Logical Replication Message Formats".
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from struct import Struct, error
from typing import Final, NamedTuple

from sluice.errors import Bug
from sluice.times import POSTGRES_EPOCH_US


class Unchanged(Enum):
    """Stands for the value of a TOASTed column that an update did not change: Postgres does not send such a value."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Value = bytes | None | Unchanged
Row = list[Value]


class RelationColumn(NamedTuple):
    """A column of a table's shape. `in_identity`: an update or delete contains its old value (with REPLICA IDENTITY
    FULL, that of all columns)."""

    name: str
    type_oid: int
    typmod: int
    in_identity: bool


class Relation(NamedTuple):
    """The shape of a table. The server sends it before the table's first change and after each change of the shape.
    `identity`: the replica identity: d default, n nothing, f full, i an index."""

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[RelationColumn, ...]


class Begin(NamedTuple):
    """The start of a transaction. `final_lsn`: the LSN of its commit record. `committed_us`: its commit, µs since
    1970."""

    final_lsn: int
    committed_us: int
    xid: int


class Commit(NamedTuple):
    """The end of a transaction. `end_lsn`: the LSN after its commit record, which may be confirmed to Postgres when the
    transaction is durable in Kafka."""

    commit_lsn: int
    end_lsn: int


class Insert(NamedTuple):
    relation: int
    new: Row


class Update(NamedTuple):
    """An update. `old_kind`: "" without an old row; "K" if `old` contains the identity columns only (the others are
    null); "O" if `old` is the whole old row."""

    relation: int
    old_kind: str
    old: Row
    new: Row


class Delete(NamedTuple):
    relation: int
    old_kind: str
    old: Row


class Truncate(NamedTuple):
    relations: tuple[int, ...]


class Origin(NamedTuple):
    """The replication origin of the transaction that starts: it was replicated from there. `commit_lsn`: its commit
    on the origin."""

    commit_lsn: int
    name: str


class Message(NamedTuple):
    """A logical message, written by `pg_logical_emit_message`. `transactional`: it is part of a transaction."""

    transactional: bool
    prefix: str
    content: bytes


PgMessage = Begin | Commit | Origin | Message | Relation | Insert | Update | Delete | Truncate

_int16 = Struct(">H").unpack_from
_int32 = Struct(">I").unpack_from
_int64 = Struct(">Q").unpack_from
_begin = Struct(">QqI").unpack_from
_commit = Struct(">QQ").unpack_from
_column = Struct(">Ii").unpack_from

_TEXT, _NULL, _UNCHANGED = b"tnu"
_IGNORED = (b"Y",)  # messages that are skipped: names of types


def decode(data: bytes) -> PgMessage | None:
    """Decode one message of the plugin; None for the name of a type.

    Raises Bug if the kind of the message is unknown or the message is too short. TCP and libpq guarantee the bytes, so
    the error is in this module.
    """
    reader = _READERS.get(data[:1])
    if reader is None:
        if data[:1] in _IGNORED:
            return None
        raise Bug(f"pgoutput: unknown message type {data[:1]!r}")
    try:
        return reader(data)
    except (error, IndexError, UnicodeDecodeError) as cause:
        raise Bug(
            f"pgoutput: message {data[:1]!r} of {len(data)} bytes cannot be read: {type(cause).__name__}"
        ) from None


def read_row(data: bytes, at: int) -> tuple[Row, int]:
    """The row that is encoded in `data` from index `at`, and the index after its last byte."""
    (count,) = _int16(data, at)
    at += 2
    row: Row = []
    append = row.append
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _TEXT:
            (size,) = _int32(data, at)
            start = at + 4
            at = start + size
            append(data[start:at])
        elif kind == _NULL:
            append(None)
        elif kind == _UNCHANGED:
            append(UNCHANGED)
        else:
            raise Bug(f"pgoutput: unknown column kind {kind:#x} (binary values were not requested)")
    if at > len(data):
        raise IndexError
    return row, at


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def _read_begin(data: bytes) -> Begin:
    final_lsn, committed, xid = _begin(data, 1)
    return Begin(final_lsn, committed + POSTGRES_EPOCH_US, xid)


def _read_commit(data: bytes) -> Commit:
    return Commit(*_commit(data, 2))


def _read_origin(data: bytes) -> Origin:
    return Origin(_int64(data, 1)[0], _text(data, 9)[0])


def _read_message(data: bytes) -> Message:
    prefix, at = _text(data, 10)
    (size,) = _int32(data, at)
    content = data[at + 4 : at + 4 + size]
    if len(content) < size:
        raise IndexError
    return Message(bool(data[1] & 1), prefix, content)


def _read_relation(data: bytes) -> Relation:
    (oid,) = _int32(data, 1)
    schema, at = _text(data, 5)
    table, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _int16(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = data[at]
        name, at = _text(data, at + 1)
        type_oid, typmod = _column(data, at)
        at += 8
        columns.append(RelationColumn(name, type_oid, typmod, bool(flags & 1)))
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns))


def _read_insert(data: bytes) -> Insert:
    (relation,) = _int32(data, 1)
    new, _ = read_row(data, 6)
    return Insert(relation, new)


def _read_update(data: bytes) -> Update:
    (relation,) = _int32(data, 1)
    kind = chr(data[5])
    if kind == "N":
        return Update(relation, "", [], read_row(data, 6)[0])
    old, at = read_row(data, 6)
    return Update(relation, kind, old, read_row(data, at + 1)[0])


def _read_delete(data: bytes) -> Delete:
    (relation,) = _int32(data, 1)
    return Delete(relation, chr(data[5]), read_row(data, 6)[0])


def _read_truncate(data: bytes) -> Truncate:
    (count,) = _int32(data, 1)
    return Truncate(tuple(_int32(data, 6 + 4 * i)[0] for i in range(count)))


_READERS: dict[bytes, Callable[[bytes], PgMessage]] = {
    b"B": _read_begin,
    b"C": _read_commit,
    b"O": _read_origin,
    b"M": _read_message,
    b"R": _read_relation,
    b"I": _read_insert,
    b"U": _read_update,
    b"D": _read_delete,
    b"T": _read_truncate,
}
