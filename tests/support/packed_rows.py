"""Reads a packed row as psycopg reads a binary COPY, so that tests can compare it with plain values."""

from __future__ import annotations

import struct
from typing import Any

import orjson
from psycopg import adapt, postgres
from psycopg.pq import Format

from sluice.golden.columns import GoldenTable

_NAMES = {"character(3)": "bpchar", "timestamp with time zone": "timestamptz", "double precision": "float8"}


def unpacked(table: GoldenTable, row: bytes) -> dict[str, Any]:
    """The Python value of each column of `row`."""
    count, at = struct.unpack_from(">h", row)[0], 2
    values: list[bytes | None] = []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", row, at)
        at += 4
        values.append(None if size == -1 else row[at : at + size])
        at += max(size, 0)
    assert at == len(row)
    assert count == len(table.copied)
    return {column.name: _loaded(column.sql_type, value) for column, value in zip(table.copied, values, strict=True)}


def _loaded(sql_type: str, value: bytes | None) -> Any:
    if value is None:
        return None
    is_array = sql_type.endswith("[]")
    name = _NAMES.get(sql_type.removesuffix("[]"), sql_type.removesuffix("[]").partition("(")[0])
    if name == "jsonb":
        assert value[:1] == b"\1"
        return orjson.loads(value[1:])
    info = postgres.types[name]
    oid = info.array_oid if is_array else info.oid
    transformer = adapt.Transformer()
    loaded = transformer.get_loader(oid, Format.BINARY).load(value)
    return bytes(loaded) if name == "bytea" and not is_array else loaded
