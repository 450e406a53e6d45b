"""The Avro schema of a Kafka Connect schema, as the Avro converters of Confluent and Apicurio derive it.

A converter writes Avro's types, and in members `connect.*` what Avro cannot say. So a reader of Kafka Connect gets the
Connect schema back. Names are adjusted as Debezium does with `schema.name.adjustment.mode=avro`, because Avro refuses
others.
"""

from __future__ import annotations

import base64
from typing import Any

from sluice.cdc.connect_schema import NO_DEFAULT, ConnectSchema
from sluice.cdc.event_schema import adjusted_name, adjusted_part

AvroSchema = dict[str, Any]

_TYPES = {
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "bytes": "bytes",
}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_LOGICAL_TYPES = {
    _DECIMAL: "decimal",
    "org.apache.kafka.connect.data.Date": "date",
    "org.apache.kafka.connect.data.Time": "time-millis",
    "org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
}
# The precision of a decimal whose Connect schema states none.
_PRECISION = 64


def avro_schema(schema: ConnectSchema) -> AvroSchema:
    """The Avro schema of a struct."""
    written: AvroSchema = _Writer().plain(schema, "")
    return written


class _Writer:
    """Writes one Avro schema. A named type is written where it occurs first, and by its name afterwards."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def field_type(self, schema: ConnectSchema, namespace: str) -> Any:
        """The type of a field, an item or a value. The null of an optional one stands where its default allows it."""
        plain = self.plain(schema, namespace)
        if not schema.optional:
            return plain
        return ["null", plain] if schema.default is NO_DEFAULT else [plain, "null"]

    def plain(self, schema: ConnectSchema, namespace: str) -> Any:
        if schema.type == "struct":
            return self._struct(schema, namespace)
        if schema.items is not None:
            return _with_connect({"type": "array", "items": self.field_type(schema.items, namespace)}, schema)
        if schema.values is not None:
            return _with_connect({"type": "map", "values": self.field_type(schema.values, namespace)}, schema)
        return _primitive(schema)

    def _struct(self, schema: ConnectSchema, namespace: str) -> Any:
        full = adjusted_name(schema.name)
        space, _, name = full.rpartition(".")
        if full in self._named:
            return name if space == namespace else full
        self._named.add(full)
        written: AvroSchema = {"type": "record", "name": name}
        if space != namespace:
            written["namespace"] = space
        written["fields"] = [self._field(field, inner, space) for field, inner in schema.fields]
        return _with_connect(written, schema)

    def _field(self, name: str, schema: ConnectSchema, namespace: str) -> AvroSchema:
        field: AvroSchema = {"name": adjusted_part(name), "type": self.field_type(schema, namespace)}
        if schema.default is not NO_DEFAULT:
            field["default"] = _default(schema)
        elif schema.optional:
            field["default"] = None
        return field


def _primitive(schema: ConnectSchema) -> Any:
    avro: AvroSchema = {"type": _TYPES[schema.type]}
    if schema.name == _DECIMAL:
        precision = int(schema.parameters.get("connect.decimal.precision", _PRECISION))
        avro |= {"scale": int(schema.parameters["scale"]), "precision": precision}
    if schema.type in ("int8", "int16"):
        avro["connect.type"] = schema.type
    avro = _with_connect(avro, schema)
    if schema.name in _LOGICAL_TYPES:
        avro["logicalType"] = _LOGICAL_TYPES[schema.name]
    return avro["type"] if avro.keys() == {"type"} else avro


def _with_connect(avro: AvroSchema, schema: ConnectSchema) -> AvroSchema:
    """The members `connect.*`, in the converters' order."""
    if schema.doc:
        avro["connect.doc"] = schema.doc
    if schema.version is not None:
        avro["connect.version"] = schema.version
    if schema.parameters:
        avro["connect.parameters"] = dict(schema.parameters)
    if schema.default is not NO_DEFAULT:
        avro["connect.default"] = _default(schema)
    if schema.name:
        avro["connect.name"] = adjusted_name(schema.name) if schema.type == "struct" else schema.name
    return avro


def _default(schema: ConnectSchema) -> Any:
    """The default in Avro's JSON, in which each byte is the character with its number."""
    if schema.type != "bytes":
        return schema.default
    return base64.b64decode(schema.default).decode("latin-1")
