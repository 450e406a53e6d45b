"""Encodes messages as Postgres' pgoutput plugin does, for tests of code that decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from sluice.cdc.pgoutput import UNCHANGED, Relation, RelationColumn, Row

POSTGRES_EPOCH_US = 946_684_800_000_000


def begin(final_lsn: int, committed_us: int = POSTGRES_EPOCH_US, xid: int = 700) -> bytes:
    return b"B" + pack(">QqI", final_lsn, committed_us - POSTGRES_EPOCH_US, xid)


def commit(commit_lsn: int, end_lsn: int, committed_us: int = POSTGRES_EPOCH_US) -> bytes:
    return b"C" + pack(">BQQq", 0, commit_lsn, end_lsn, committed_us - POSTGRES_EPOCH_US)


def relation(of: Relation) -> bytes:
    head = b"R" + pack(">I", of.oid) + _text(of.schema) + _text(of.table) + of.identity.encode()
    columns = (bytes([c.in_identity]) + _text(c.name) + pack(">Ii", c.type_oid, c.typmod) for c in of.columns)
    return head + pack(">H", len(of.columns)) + b"".join(columns)


def insert(oid: int, new: Row) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(new)


def update(oid: int, new: Row, old: Row | None = None, old_kind: str = "K") -> bytes:
    before = b"" if old is None else old_kind.encode() + row(old)
    return b"U" + pack(">I", oid) + before + b"N" + row(new)


def delete(oid: int, old: Row, old_kind: str = "K") -> bytes:
    return b"D" + pack(">I", oid) + old_kind.encode() + row(old)


def truncate(*oids: int, options: int = 0) -> bytes:
    return b"T" + pack(">IB", len(oids), options) + b"".join(pack(">I", oid) for oid in oids)


def message(prefix: str, content: bytes, lsn: int = 0, *, transactional: bool = True) -> bytes:
    return b"M" + pack(">BQ", transactional, lsn) + _text(prefix) + pack(">I", len(content)) + content


def type_name(oid: int, schema: str, name: str) -> bytes:
    return b"Y" + pack(">I", oid) + _text(schema) + _text(name)


def origin(lsn: int, name: str) -> bytes:
    return b"O" + pack(">Q", lsn) + _text(name)


def row(values: Row) -> bytes:
    return pack(">H", len(values)) + b"".join(_value(v) for v in values)


def table(oid: int, name: str, columns: Sequence[tuple[str, int]], key: Sequence[str], identity: str = "d") -> Relation:
    """The shape of table `public.<name>`. `in_identity` marks the key columns; with identity "f", all columns."""
    shape = tuple(RelationColumn(n, type_oid, -1, identity == "f" or n in key) for n, type_oid in columns)
    return Relation(oid, "public", name, identity, shape)


def _value(value: object) -> bytes:
    if value is None:
        return b"n"
    if value is UNCHANGED:
        return b"u"
    assert isinstance(value, bytes)
    return b"t" + pack(">I", len(value)) + value


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
