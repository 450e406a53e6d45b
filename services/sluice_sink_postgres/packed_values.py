"""Readers of single Avro values that pack each value for its column. The generated row decoders call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NamedTuple

from sluice.entities.field_types import FieldType, Kind
from sluice.errors import DeadRecord
from sluice.golden import binary
from sluice.schemas.avro import UnreadableSchema
from sluice.schemas.reader import DECIMAL_BYTES_MAX, NotAvro, Read, array_reader, read_long, read_slice
from sluice.times import EPOCH_ORDINAL, INSTANTS

FIRST_DAY, LAST_DAY = 1 - EPOCH_ORDINAL, date.max.toordinal() - EPOCH_ORDINAL  # the days of the years 1 to 9999
_CACHED_MAX = 16_384
_SIZE_8 = binary.pack_size(8)
_NAMES: dict[Any, Kind] = {
    "string": "string",
    "bytes": "bytes",
    "int": "int",
    "long": "int",
    "boolean": "bool",
    "double": "float",
    ("bytes", "decimal"): "decimal",
    ("int", "date"): "date",
    ("long", "timestamp-micros"): "timestamp",
}
# The oids of Postgres's types.
_OIDS: dict[Kind, int] = {
    "string": 25,
    "int": 20,
    "bool": 16,
    "float": 701,
    "decimal": 1700,
    "date": 1082,
    "timestamp": 1184,
    "bytes": 17,
}


class AvroField(NamedTuple):
    """The Avro type of a field as a writer's schema states it. `kind`: `json` is a string. `scale`: of decimals."""

    kind: Kind
    nullable: bool
    scale: int = 0
    item: AvroField | None = None

    def fits(self, wanted: FieldType) -> bool:
        """Whether the column of a field with type `wanted` can store the values."""
        if self.item is not None and wanted.item is not None:
            return self.item.fits(wanted.item)
        return self.kind == ("string" if wanted.kind == "json" else wanted.kind)


def avro_field(schema: Any, named: Mapping[str, Any]) -> AvroField:
    """The type of a field. `named`: the named types of the schema. Raises UnreadableSchema for a type that no canonical
    record has."""
    if isinstance(schema, list):
        if len(schema) != 2 or schema[0] != "null":
            raise UnreadableSchema('a union other than ["null", T]')
        return avro_field(schema[1], named)._replace(nullable=True)
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if isinstance(schema, str):
        schema = {"type": schema}
    if schema["type"] == "array":
        return AvroField("list", False, item=avro_field(schema["items"], named))
    if schema["type"] == "record":
        amount, currency = _money(schema, named)
        if (amount.kind, currency.kind, amount.nullable or currency.nullable) == ("decimal", "string", False):
            return AvroField("money", False, amount.scale)
        raise UnreadableSchema(f"record {schema['name']} is not money")
    logical = schema.get("logicalType")
    kind = _NAMES.get((schema["type"], logical) if logical else schema["type"])
    if kind is None:
        raise UnreadableSchema(f"type {schema['type']} {logical or ''} is not read here")
    return AvroField(kind, False, schema.get("scale", 0))


def _money(record: Mapping[str, Any], named: Mapping[str, Any]) -> list[AvroField]:
    members = record["fields"]
    if [member["name"] for member in members] != ["amount", "currency"]:
        raise UnreadableSchema(f"record {record['name']} is not money")
    return [avro_field(member["type"], named) for member in members]


class Numerics(dict[bytes, bytes]):
    """Packed numerics by the bytes of an Avro decimal of one scale. A look-up costs a tenth of the packing."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def __missing__(self, raw: bytes) -> bytes:
        if not 0 < len(raw) <= DECIMAL_BYTES_MAX:
            raise NotAvro("a decimal of no digits, or of more than any contract has")
        packed = binary.pack_numeric(int.from_bytes(raw, "big", signed=True), self._scale)
        if len(self) < _CACHED_MAX:
            self[raw] = packed
        return packed


def nul_character() -> DeadRecord:
    return DeadRecord("nul-character", "a string contains U+0000, which Postgres cannot store")


def time_out_of_range(entity: str) -> DeadRecord:
    return DeadRecord("time-out-of-range", f"{entity} has a time outside of the years 1 to 9999")


def list_reader(item: AvroField, entity: str) -> Callable[[bytes, int], tuple[bytes, int]]:
    """A reader of Avro arrays that packs each as an array of Postgres."""
    read_items = array_reader(_item_reader(item, entity))
    oid = _OIDS[item.kind]

    def read_list(data: bytes, at: int) -> tuple[bytes, int]:
        items, at = read_items(data, at)
        return binary.pack_array(oid, items), at

    return read_list


def _item_reader(item: AvroField, entity: str) -> Callable[[bytes, int], tuple[bytes, int]]:
    read = _readers(item, entity)[item.kind]
    if not item.nullable:
        return read

    def read_nullable(data: bytes, at: int) -> tuple[bytes, int]:
        if data[at] == 0:
            return binary.NULL, at + 1
        if data[at] != 2:
            raise NotAvro("a union's branch that does not exist")
        return read(data, at + 1)

    return read_nullable


def _readers(item: AvroField, entity: str) -> dict[str, Read]:
    """The readers of list items by kind."""
    numerics = Numerics(item.scale)

    def text(data: bytes, at: int) -> tuple[bytes, int]:
        value, at = read_slice(data, at)
        value.decode()
        if b"\0" in value:
            raise nul_character()
        return binary.pack_bytes(value), at

    def timestamp(data: bytes, at: int) -> tuple[bytes, int]:
        us, at = read_long(data, at)
        if not INSTANTS[0] <= us <= INSTANTS[-1]:
            raise time_out_of_range(entity)
        return binary.pack_timestamp(us), at

    def raw(data: bytes, at: int) -> tuple[bytes, int]:
        value, at = read_slice(data, at)
        return binary.pack_bytes(value), at

    def decimal(data: bytes, at: int) -> tuple[bytes, int]:
        value, at = read_slice(data, at)
        return numerics[value], at

    def bigint(data: bytes, at: int) -> tuple[bytes, int]:
        number, at = read_long(data, at)
        return binary.pack_bigint(number), at

    return {
        "string": text,
        "timestamp": timestamp,
        "bytes": raw,
        "decimal": decimal,
        "int": bigint,
        "date": read_date,
        "bool": lambda data, at: (binary.pack_bool(data[at] == 1), at + 1),
        "float": read_double,
    }


def read_date(data: bytes, at: int) -> tuple[bytes, int]:
    days, at = read_long(data, at)
    if not FIRST_DAY <= days <= LAST_DAY:
        raise NotAvro("a date outside of the years 1 to 9999")
    return binary.pack_date(days), at


def read_double(data: bytes, at: int) -> tuple[bytes, int]:
    raw = data[at : at + 8]
    if len(raw) < 8:
        raise NotAvro("a number beyond the end of the record")
    return _SIZE_8 + raw[::-1], at + 8  # Avro is little-endian, Postgres big-endian
