"""What only the exact form writes: the values that Debezium states and a table does not contain.

`docs/reference/debezium-differences.md` names each of them. Without `EventForm.exact` nothing here is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import orjson

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.connect_schema import NO_DEFAULT
from sluice.cdc.default_values import default_of
from sluice.cdc.event_form import EventForm
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.pgoutput import RelationColumn
from sluice.cdc.values.arrays import array, parse_array
from sluice.cdc.values.times import jdbc_date
from sluice.cdc.values.writer import ToJson, null, string

_ENUM = -1  # stands for the oid of every enum
_NAME, _DATE, _TIMESTAMPTZ = 19, 1082, 1184
_VECTORS = (22, 30)  # int2vector, oidvector
_BIT_ARRAY = 1561
_NUMERIC, _VARBIT, _MONEY, _INTERVAL, _POINT, _XML = 1700, 1562, 790, 1186, 600, 142
_RANGES = (3904, 3906, 3908, 3910, 3912, 3926)
_TEXTS = (18, _NAME, 25, 114, _XML, 650, 774, 829, 869, 1042, 1043, 2950, 3614, 3802, *_RANGES)
_STRINGS = (25, 1042, 1043)
_SHAPES = (_POINT, 601, 602, 603, 604, 628, 718)
_NUMBERS_AND_TIMES = (16, 20, 21, 23, 26, 700, 701, _NUMERIC, _MONEY, _DATE, 1083, 1114, _TIMESTAMPTZ, _INTERVAL, 1266)
_KNOWN = {17, 1560, _VARBIT, _ENUM, *_VECTORS, *_TEXTS, *_SHAPES, *_NUMBERS_AND_TIMES}
_TEXT_NAMES = ("citext", "ltree", "isbn")
_KNOWN_NAMES = {*_TEXT_NAMES, "hstore", "geometry", "geography", "vector", "halfvec", "sparsevec"}
_UNKNOWN_ELEMENTS = {_NAME, _XML, _POINT, _MONEY, _INTERVAL, _VARBIT}

# By the type's oid: the text of the value that Debezium invents for a NOT NULL column that an old row lacks.
_ZEROS = {
    16: b"f",
    17: b"\\x",
    20: b"0",
    21: b"0",
    23: b"0",
    26: b"0",
    600: b"(0,0)",
    601: b"[(0,0),(1,0)]",
    603: b"(0,0),(1,1)",
    604: b"((0,0),(1,0),(0,1))",
    628: b"{0,1,0}",
    700: b"0",
    701: b"0",
    718: b"<(0,0),0>",
    790: b"0.00",
    1082: b"1970-01-01",
    1083: b"00:00:00",
    1114: b"1970-01-01 00:00:00",
    1186: b"00:00:00",
    1266: b"00:00:00+00",
    1560: b"0",
    1562: b"0",
}


def is_left_out(types: Mapping[int, PgType], oid: int) -> bool:
    """Whether Debezium's events have no column of this type."""
    known = types.get(oid, PgType(oid))
    if known.base:
        return is_left_out(types, known.base)
    if known.element:
        element = types.get(known.element, PgType(known.element))
        return bool(element.base) or known.element in _UNKNOWN_ELEMENTS or is_left_out(types, known.element)
    return not (oid in _KNOWN or known.is_enum or known.name in _KNOWN_NAMES)


def exact_writer(
    types: Mapping[int, PgType], column: RelationColumn, form: EventForm, *, snapshot: bool, zero: bytes
) -> ToJson:
    """The writer of a column's values. `snapshot`: for rows of snapshots, which Debezium reads in another way. `zero`:
    what stands for a value that it cannot read."""
    known = types.get(column.type_oid, PgType(column.type_oid))
    if known.base:
        typmod = known.base_typmod if column.typmod == -1 else column.typmod
        return exact_writer(
            types, column._replace(type_oid=known.base, typmod=typmod), form, snapshot=snapshot, zero=zero
        )
    if column.type_oid in _VECTORS:
        return partial(_constant, b"[]")
    if column.type_oid == _NAME and not snapshot:
        return partial(_constant, zero)
    if column.type_oid == _BIT_ARRAY:
        return null
    if known.element and types.get(known.element, PgType(0)).is_enum:
        return _enum_array
    if known.element == _DATE:
        return partial(array, jdbc_date(form))
    if known.element in _STRINGS:
        return _text_array
    if column.type_oid == _DATE and snapshot:
        return jdbc_date(form)
    return json_writer(types, column.type_oid, column.typmod, form)


def null_json(
    types: Mapping[int, PgType], column: RelationColumn, form: EventForm, catalog: ColumnCatalog, write: ToJson
) -> bytes:
    """The JSON for NULL: the default of the column, if its schema states one."""
    is_enum = types.get(column.type_oid, PgType(0)).is_enum
    default = default_of(catalog.default, _base_of(types, column.type_oid), write, is_enum=is_enum)
    return b"null" if default is NO_DEFAULT else orjson.dumps(default)


def zero_json(types: Mapping[int, PgType], column: RelationColumn, form: EventForm) -> bytes:
    """The JSON for a NOT NULL column that an old row lacks: a zero of its type."""
    oid = _base_of(types, column.type_oid)
    known = types.get(oid, PgType(oid))
    if known.element or oid in _VECTORS or known.name in ("vector", "halfvec"):
        return b"[]"
    if known.name == "sparsevec":
        return b"null"
    if oid == _TIMESTAMPTZ:
        return b'"1970-01-01T00:00:00Z"'
    write = json_writer(types, column.type_oid, column.typmod, form)
    if known.name == "hstore":
        return write(b"")
    if oid == _NUMERIC:
        return write(_zero_number(types, column))
    return write(_ZEROS[oid]) if oid in _ZEROS else b'""'


def is_text(types: Mapping[int, PgType], oid: int, form: EventForm) -> bool:
    """Whether the values of the type are texts in Debezium's schemas."""
    oid = _base_of(types, oid)
    known = types.get(oid, PgType(oid))
    return (
        known.is_enum or known.name in _TEXT_NAMES or oid in _TEXTS or (oid == _NUMERIC and form.decimals == "string")
    )


def _base_of(types: Mapping[int, PgType], oid: int) -> int:
    base = types.get(oid, PgType(oid)).base
    return _base_of(types, base) if base else oid


def _zero_number(types: Mapping[int, PgType], column: RelationColumn) -> bytes:
    typmod = column.typmod
    oid = column.type_oid
    while typmod == -1 and types.get(oid, PgType(oid)).base:
        oid, typmod = types[oid].base, types[oid].base_typmod
    scale = typmod - 4 & 0x7FF if typmod >= 4 else 0
    return b"0." + b"0" * scale if scale else b"0"


def _constant(value: bytes, text: bytes) -> bytes:
    return value


def _text_array(text: bytes) -> bytes:
    """Debezium writes the name and the address of a Java object for each inner array. The address is different in each
    event; here it is 0."""
    items = [
        string(item) if isinstance(item, bytes) else b"null" if item is None else b'"[Ljava.lang.String;@0"'
        for item in parse_array(text)
    ]
    return b"[%b]" % b",".join(items)


def _enum_array(text: bytes) -> bytes:
    items = parse_array(text)
    return b"null" if None in items else orjson.dumps([item.decode() for item in items if isinstance(item, bytes)])
