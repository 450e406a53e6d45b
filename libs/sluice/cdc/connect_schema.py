"""A Kafka Connect schema as a value: what Debezium says about keys and values, in JSON or as Avro."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

ConnectType = Literal[
    "int8", "int16", "int32", "int64", "float", "double", "boolean", "string", "bytes", "array", "map", "struct"
]


class _NoDefault:
    def __repr__(self) -> str:
        return "NO_DEFAULT"


NO_DEFAULT = _NoDefault()


@dataclass(frozen=True, slots=True)
class ConnectSchema:
    """A schema of Kafka Connect.

    `name` and `version`: of the logical type, or of the struct. `default`: as the payload's JSON writes the value.
    `fields`: of a struct. `items`: of an array. `keys` and `values`: of a map.
    """

    type: ConnectType
    optional: bool = False
    name: str = ""
    version: int | None = None
    doc: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    default: Any = NO_DEFAULT
    fields: tuple[tuple[str, ConnectSchema], ...] = ()
    items: ConnectSchema | None = None
    keys: ConnectSchema | None = None
    values: ConnectSchema | None = None

    def as_optional(self, optional: bool = True) -> ConnectSchema:
        return replace(self, optional=optional)

    def to_json(self) -> dict[str, Any]:
        """The schema as Kafka Connect's JsonConverter writes it, with the members in the same order."""
        written: dict[str, Any] = {"type": self.type}
        if self.items is not None:
            written["items"] = self.items.to_json()
        if self.keys is not None and self.values is not None:
            written |= {"keys": self.keys.to_json(), "values": self.values.to_json()}
        if self.type == "struct":
            written["fields"] = [{**schema.to_json(), "field": name} for name, schema in self.fields]
        written["optional"] = self.optional
        for member, value in (("name", self.name), ("version", self.version), ("doc", self.doc)):
            if value:
                written[member] = value
        if self.parameters:
            written["parameters"] = dict(self.parameters)
        if self.default is not NO_DEFAULT:
            written["default"] = self.default
        return written


def struct(name: str, *fields: tuple[str, ConnectSchema], version: int | None = 1, **more: Any) -> ConnectSchema:
    """The schema of a struct."""
    return ConnectSchema("struct", name=name, version=version, fields=fields, **more)


STRING = ConnectSchema("string")
INT32 = ConnectSchema("int32")
INT64 = ConnectSchema("int64")
DOUBLE = ConnectSchema("double")
BYTES = ConnectSchema("bytes")
