"""Reads Avro that Debezium or ingress-cdc wrote, as the JSON that the same record has without a schema.

So a raw model sees the same values in all encodings: bytes and decimals are base64 texts, and times are numbers or
texts as their column's schema says. Only names differ: those that Avro does not allow are adjusted.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any

import orjson

from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.schemas.avro import UnreadableSchema, resolved
from sluice.schemas.decoder import HEADER_BYTES, schema_id_of
from sluice.schemas.reader import NotAvro, Read, array_reader, read_long, read_slice

_DEPTH_MAX = 16
_unpack_float = struct.Struct("<f").unpack_from
_unpack_double = struct.Struct("<d").unpack_from
_AVRO = b"\0"


def is_avro(data: bytes | None) -> bool:
    """Whether a key or a value is Avro in Confluent's wire format. JSON never starts with a zero byte."""
    return data is not None and data[:1] == _AVRO


class PlainJson:
    """Makes raw records whose keys and values are plain JSON of records in Avro. Other records are returned as they
    are.

    `schema_by_id`: normally `Registry.by_id`. It is called once for each schema id.
    """

    def __init__(self, schema_by_id: Callable[[int], dict[str, Any]]) -> None:
        self._schema_by_id = schema_by_id
        self._readers: dict[int, Read] = {}

    def record(self, record: Record) -> Record:
        """The record in plain JSON. Raises DeadRecord if it does not fit its schema or the registry has no such schema,
        and EnvironmentFault if the registry does not answer and the schema was never read."""
        key, value = record.key, record.value
        if not is_avro(key) and not is_avro(value):
            return record
        return record._replace(key=self._json(key), value=self._json(value))

    def _json(self, data: bytes | None) -> bytes | None:
        if data is None or not is_avro(data):
            return data
        schema_id = schema_id_of(data)
        read = self._readers.get(schema_id)
        if read is None:
            read = self._readers[schema_id] = _reader(schema_id, self._schema_by_id(schema_id))
        try:
            value, end = read(data, HEADER_BYTES)
        except (NotAvro, IndexError, UnicodeDecodeError, struct.error) as error:
            raise DeadRecord("bad-avro", f"does not fit schema {schema_id}: {type(error).__name__}") from None
        if end != len(data):
            raise DeadRecord("bad-avro", f"more bytes than a record of schema {schema_id} has")
        return orjson.dumps(value)


def _reader(schema_id: int, schema: dict[str, Any]) -> Read:
    try:
        return connect_reader(schema)
    except UnreadableSchema as error:
        raise DeadRecord("bad-avro", f"schema {schema_id}: {error}") from None


def connect_reader(schema: Any) -> Read:
    """A reader for `schema`: a function (bytes, index of a value) -> (the value as JSON, index of the first byte after
    it). It raises NotAvro, IndexError, struct.error or UnicodeDecodeError if the bytes do not fit the schema.

    Raises UnreadableSchema if `schema` is not Avro, or uses a type that no Kafka Connect schema becomes.
    """
    return _compile(resolved(schema)[0], {}, 0)


def _compile(schema: Any, named: dict[str, Read], depth: int) -> Read:
    if depth > _DEPTH_MAX:
        raise UnreadableSchema(f"deeper than {_DEPTH_MAX} levels")
    if isinstance(schema, list):
        return _union([None if branch == "null" else _compile(branch, named, depth + 1) for branch in schema])
    if isinstance(schema, str):
        known = _PRIMITIVES.get(schema) or named.get(schema)
        if known is None:
            raise UnreadableSchema(f"type {schema} is not read here, or contains itself")
        return known
    kind = schema["type"]
    if kind == "array":
        return array_reader(_compile(schema["items"], named, depth + 1))
    if kind == "map":
        return _map(_compile(schema["values"], named, depth + 1))
    if kind != "record":
        return _compile(kind, named, depth + 1)
    fields = [(field["name"], _compile(field["type"], named, depth + 1)) for field in schema["fields"]]
    read = named[schema["name"]] = _record(fields)
    return read


def _union(branches: list[Read | None]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        branch, at = read_long(data, at)
        if not 0 <= branch < len(branches):
            raise NotAvro("a union's branch that does not exist")
        inner = branches[branch]
        return (None, at) if inner is None else inner(data, at)

    return read


def _record(fields: list[tuple[str, Read]]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        found = {}
        for name, inner in fields:
            found[name], at = inner(data, at)
        return found, at

    return read


def _map(value: Read) -> Read:
    def entry(data: bytes, at: int) -> tuple[tuple[str, Any], int]:
        key, at = _read_string(data, at)
        inner, at = value(data, at)
        return (key, inner), at

    entries = array_reader(entry)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        found, at = entries(data, at)
        return dict(found), at

    return read


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = read_slice(data, at)
    return raw.decode(), at


def _read_bytes(data: bytes, at: int) -> tuple[str, int]:
    raw, at = read_slice(data, at)
    return base64.b64encode(raw).decode("ascii"), at


def _read_bool(data: bytes, at: int) -> tuple[bool, int]:
    return data[at] == 1, at + 1


def _read_double(data: bytes, at: int) -> tuple[Any, int]:
    return _number(_unpack_double(data, at)[0]), at + 8


def _read_float(data: bytes, at: int) -> tuple[Any, int]:
    value = _unpack_float(data, at)[0]
    return _number(_shortest(value) if math.isfinite(value) else value), at + 4


def _number(value: float) -> float | str:
    """The number; a text for the numbers that JSON lacks, as the encoders of JSON write it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _shortest(value: float) -> float:
    """The number with the fewest digits that is equal in single precision, as PostgreSQL prints it."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", value):
            return short
    return float(f"{value:.9g}")


_PRIMITIVES: dict[str, Read] = {
    "string": _read_string,
    "bytes": _read_bytes,
    "int": read_long,
    "long": read_long,
    "boolean": _read_bool,
    "double": _read_double,
    "float": _read_float,
}
