"""Decodes the messages of pgoutput, Postgres' own logical decoding plugin: bytes in, values out, no I/O.

Protocol versions 1 and 2 without streaming: a transaction arrives whole, at its commit, in commit order. Column values
stay the bytes of Postgres' text format; `sluice.cdc.column_json` writes them as JSON, for followed tables only.
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
    """The value of a TOASTed column that an update did not touch: Postgres does not send it. It is not null."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED
Value = bytes | None | Unchanged
Row = list[Value]


class RelationColumn(NamedTuple):
    """`in_identity`: an update or delete carries its old value (with REPLICA IDENTITY FULL, all columns)."""

    name: str
    type_oid: int
    typmod: int
    in_identity: bool


class Relation(NamedTuple):
    """A table's shape, sent before its first change and again after each change of the shape. `identity`: d, n, f or
    i."""

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[RelationColumn, ...]


class Begin(NamedTuple):
    """`final_lsn`: the LSN of the commit record; `committed_us`: µs since 1970."""

    final_lsn: int
    committed_us: int
    xid: int


class Commit(NamedTuple):
    """`end_lsn`: the start of the next record, which may be confirmed once the transaction is durable."""

    commit_lsn: int
    end_lsn: int


class Insert(NamedTuple):
    relation: int
    new: Row


class Update(NamedTuple):
    """`old_kind`: "" none, "K" identity columns only (the others read null), "O" the whole old row."""

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


PgMessage = Begin | Commit | Relation | Insert | Update | Delete | Truncate

_int16 = Struct(">H").unpack_from
_int32 = Struct(">I").unpack_from
_begin = Struct(">QqI").unpack_from
_commit = Struct(">QQ").unpack_from
_column = Struct(">Ii").unpack_from

_TEXT, _NULL, _UNCHANGED = b"tnu"
_NEW = b"N"[0]
_IGNORED = (b"M", b"Y", b"O")  # logical messages, names of types, origins

NEW_ROW_AT = 6
"""The index of the tuple in an insert, and in an update without an old row."""


def new_row_of(data: bytes) -> int | None:
    """The relation of an insert or update without an old row; None for any other message."""
    if data[0] in b"IU" and data[5] == _NEW:
        return int(_int32(data, 1)[0])
    return None


def decode(data: bytes) -> PgMessage | None:
    """One message of the plugin; None for a kind that has no use here.

    Raises Bug on an unknown or cut message: TCP and libpq guarantee the bytes, so the error is in this module.
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
    """The tuple that starts at index `at`, and the index of its end."""
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
    b"R": _read_relation,
    b"I": _read_insert,
    b"U": _read_update,
    b"D": _read_delete,
    b"T": _read_truncate,
}
