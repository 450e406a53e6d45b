"""The Kafka Connect schema of a column's values, in the form of the source's events.

The schema describes what `sluice.cdc.column_json` writes for the column.
"""

from __future__ import annotations

from collections.abc import Mapping

from sluice.cdc.column_json import PgType
from sluice.cdc.connect_schema import BYTES, DOUBLE, INT32, INT64, STRING, ConnectSchema, struct
from sluice.cdc.event_form import EventForm
from sluice.cdc.values.numbers import numeric_scale

_CONNECT = "org.apache.kafka.connect.data"
_POINT = struct(
    "io.debezium.data.geometry.Point",
    ("x", DOUBLE),
    ("y", DOUBLE),
    ("wkb", BYTES.as_optional()),
    ("srid", INT32.as_optional()),
    doc="Geometry (POINT)",
)
_GEOMETRY = struct(
    "io.debezium.data.geometry.Geometry",
    ("wkb", BYTES),
    ("srid", INT32.as_optional()),
    ("extensions", ConnectSchema("map", optional=True, keys=STRING, values=STRING)),
    version=2,
    doc="Geometry",
)
_GEOGRAPHY = struct(
    "io.debezium.data.geometry.Geography",
    ("wkb", BYTES),
    ("srid", INT32.as_optional()),
    ("extensions", ConnectSchema("map", optional=True, keys=STRING, values=STRING)),
    version=2,
    doc="Geography",
)
_LINE = struct("io.debezium.data.geometry.Line", ("a", DOUBLE), ("b", DOUBLE), ("c", DOUBLE), doc="Geometry (LINE)")
_CIRCLE = struct("io.debezium.data.geometry.Circle", ("center", _POINT), ("radius", DOUBLE), doc="Geometry (CIRCLE)")
_VARIABLE_DECIMAL = struct(
    "io.debezium.data.VariableScaleDecimal", ("scale", INT32), ("value", BYTES), doc="Variable scaled decimal"
)


def _logical(type_: ConnectSchema, name: str) -> ConnectSchema:
    return ConnectSchema(type_.type, name=name, version=1)


_JSON = _logical(STRING, "io.debezium.data.Json")
_BY_OID: dict[int, ConnectSchema] = {
    16: ConnectSchema("boolean"),
    20: INT64,
    21: ConnectSchema("int16"),
    23: INT32,
    26: INT64,
    114: _JSON,
    142: _logical(STRING, "io.debezium.data.Xml"),
    600: _POINT,
    601: _GEOMETRY,
    602: _GEOMETRY,
    603: _GEOMETRY,
    604: _GEOMETRY,
    628: _LINE,
    700: ConnectSchema("float"),
    701: DOUBLE,
    718: _CIRCLE,
    1184: _logical(STRING, "io.debezium.time.ZonedTimestamp"),
    1266: _logical(STRING, "io.debezium.time.ZonedTime"),
    2950: _logical(STRING, "io.debezium.data.Uuid"),
    3614: _logical(STRING, "io.debezium.data.Tsvector"),
    3802: _JSON,
}
_BY_NAME: dict[str, ConnectSchema] = {
    "geometry": _GEOMETRY,
    "geography": _GEOGRAPHY,
    "ltree": _logical(STRING, "io.debezium.data.Ltree"),
}


def type_schema(types: Mapping[int, PgType], oid: int, typmod: int, form: EventForm) -> ConnectSchema:
    """The schema of the values of type `oid`, not optional. `types`: the types that are not built in, and all arrays,
    by oid. `typmod`: the column's type modifier, -1 if none."""
    known = types.get(oid, PgType(oid))
    if known.base:
        return type_schema(types, known.base, known.base_typmod if typmod == -1 else typmod, form)
    if known.element:
        item = type_schema(types, known.element, typmod, form)
        # Debezium's arrays of enums do not allow null.
        required = form.exact and types.get(known.element, PgType(0)).is_enum
        return ConnectSchema("array", items=item.as_optional(not required))
    if known.is_enum:
        return ConnectSchema(
            "string", name="io.debezium.data.Enum", version=1, parameters={"allowed": ",".join(known.labels)}
        )
    if known.name == "hstore":
        values = ConnectSchema("map", keys=STRING, values=STRING.as_optional())
        return values if form.hstores == "map" else _JSON
    if not form.debezium:
        return _BY_OID.get(oid, STRING) if oid in _SAME_IN_BOTH else _sluice_schema(oid, typmod, form)
    return _by_mode(oid, typmod, form) or _BY_OID.get(oid) or _BY_NAME.get(known.name, STRING)


_SAME_IN_BOTH = {16, 20, 21, 23, 26, 114, 700, 701, 1184, 2950, 3802}


def _sluice_schema(oid: int, typmod: int, form: EventForm) -> ConnectSchema:
    """The schema of a type that Sluice's own form writes as text, except times, binary values and numbers."""
    return (_by_mode(oid, typmod, form) if oid in (17, 1082, 1083, 1114, 1700) else None) or STRING


def _by_mode(oid: int, typmod: int, form: EventForm) -> ConnectSchema | None:
    """The schema of a type that one of Debezium's handling modes decides; None for other types."""
    match oid:
        case 17:
            return BYTES if form.binaries == "bytes" else STRING
        case 790:
            return _decimal(form, form.money_digits, None)
        case 1082 | 1083 | 1114:
            return _temporal(oid, 6 if typmod < 0 else typmod, form)
        case 1186:
            if form.intervals == "numeric":
                return _logical(INT64, "io.debezium.time.MicroDuration")
            return _logical(STRING, "io.debezium.time.Interval") if form.intervals == "string" else STRING
        case 1560 | 1562:
            return _bits(oid, typmod)
        case 1700:
            return _decimal(form, numeric_scale(typmod), typmod - 4 >> 16)
        case _:
            return None


def _bits(oid: int, length: int) -> ConnectSchema:
    """The schema of a bit string. `length`: the declared number of bits, -1 if none."""
    if length == 1:
        return ConnectSchema("boolean")
    parameters = {"length": str(2_147_483_647 if length < 0 else length)}
    return ConnectSchema("bytes", name="io.debezium.data.Bits", version=1, parameters=parameters)


def _decimal(form: EventForm, scale: int | None, precision: int | None) -> ConnectSchema:
    """The schema of numbers. `scale`: None if the column declares no precision."""
    if form.decimals == "double":
        return DOUBLE
    if form.decimals == "string":
        return STRING
    if scale is None:
        return _VARIABLE_DECIMAL
    # Debezium reads the scale without its sign.
    parameters = {"scale": str(scale & 0x7FF if form.exact else scale)}
    if precision is not None:
        parameters["connect.decimal.precision"] = str(precision)
    return ConnectSchema("bytes", name=f"{_CONNECT}.Decimal", version=1, parameters=parameters)


_PLAIN_NAMES = {1082: "Date", 1083: "Time", 1114: "Timestamp"}


def _temporal(oid: int, precision: int, form: EventForm) -> ConnectSchema:
    """The schema of a date, a time or a timestamp without zone. `precision`: the number of its fraction digits."""
    plain = _PLAIN_NAMES[oid]
    if form.times == "connect":
        return _logical(INT64 if oid == 1114 else INT32, f"{_CONNECT}.{plain}")
    if form.times == "isostring":
        return _logical(STRING, f"io.debezium.time.Iso{plain}")
    if oid == 1082:
        return _logical(INT32, "io.debezium.time.Date")
    if form.times == "nanoseconds":
        return _logical(INT64, f"io.debezium.time.Nano{plain}")
    adaptive = form.times == "adaptive" or (form.times == "adaptive_time_microseconds" and oid == 1114)
    if adaptive and precision <= 3:
        return _logical(INT64 if oid == 1114 else INT32, f"io.debezium.time.{plain}")
    return _logical(INT64, f"io.debezium.time.Micro{plain}")
