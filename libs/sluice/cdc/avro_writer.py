"""Generates the writer of Avro binary for a Kafka Connect schema: Python code with a few lines for each field.

The input is the payload as the JSON encoders write it, parsed: bytes are base64 texts, and numbers that JSON does not
have are texts. So the values of Avro records are those of the JSON records. The tests read the bytes with fastavro.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable
from typing import Any

from sluice.cdc.connect_schema import NO_DEFAULT, ConnectSchema
from sluice.generated_code import run_generated

WriteAvro = Callable[[Any], bytes]
"""A function of a parsed payload. It raises TypeError, ValueError, AttributeError or KeyError for a value that does not
fit the schema."""

_INTEGERS = ("int8", "int16", "int32", "int64")
_float = struct.Struct("<f").pack
_double = struct.Struct("<d").pack


def avro_writer(schema: ConnectSchema) -> WriteAvro:
    """The writer for a struct. A field that is missing, or null although the schema requires a value, is written as its
    default or as the zero of its type, as Debezium does for columns of old rows that the replica identity lacks."""
    code = _Code()
    start = code.struct_function(schema)
    code.lines += ["def write(value):", " parts = []", f" {start}(value, parts.append)", " return b''.join(parts)"]
    names: dict[str, Any] = {
        "long": long_bytes,
        "float32": lambda value: _float(float(value)),
        "float64": lambda value: _double(float(value)),
        "unbase64": base64.b64decode,
        "flat": _flat,
    }
    write: WriteAvro = run_generated("\n".join(code.lines), f"<Avro writer of {schema.name}>", names)["write"]
    return write


def long_bytes(value: int) -> bytes:
    """An Avro int or long: zigzag, then seven bits in each byte, the lowest first."""
    left = (value << 1) ^ (value >> 63)
    if left < 0x80:
        return bytes((left,))
    written = bytearray()
    while left >= 0x80:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    written.append(left)
    return bytes(written)


def _flat(items: Iterable[Any]) -> list[Any]:
    """The items of an array of any number of dimensions, in one list: a schema has one dimension."""
    found: list[Any] = []
    for item in items:
        found += _flat(item) if isinstance(item, list) else [item]
    return found


class _Code:
    """The lines of the generated module. It contains names of fields as quoted constants, and no other text."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._functions: dict[str, str] = {}
        self._variables = 0

    def struct_function(self, schema: ConnectSchema) -> str:
        """The name of the function that writes a struct of this name."""
        known = self._functions.get(schema.name)
        if known is not None:
            return known
        name = self._functions[schema.name] = f"struct{len(self._functions)}"
        body: list[str] = []
        for field, inner in schema.fields:
            variable = self._variable()
            body.append(f" {variable} = value.get({field!r})")
            body += self._value(inner, variable, " ")
        self.lines += [f"def {name}(value, add):", *(body or [" pass"])]
        return name

    def _value(self, schema: ConnectSchema, at: str, indent: str) -> list[str]:
        """The lines that write the value in the variable `at`."""
        deeper = indent + " "
        plain = self._plain(schema, at, deeper)
        if schema.optional:
            null, some = (b"\0", b"\2") if schema.default is NO_DEFAULT else (b"\2", b"\0")
            return [f"{indent}if {at} is None: add({null!r})", f"{indent}else:", f"{deeper}add({some!r})", *plain]
        return [f"{indent}if {at} is None:", f"{deeper}{at} = {_zero(schema)!r}", *self._plain(schema, at, indent)]

    def _plain(self, schema: ConnectSchema, at: str, indent: str) -> list[str]:
        if schema.type == "struct":
            return [f"{indent}{self.struct_function(schema)}({at}, add)"]
        if schema.items is not None:
            return self._blocks(f"flat({at})", [("", schema.items)], indent)
        if schema.values is not None:
            return self._blocks(f"{at}.items()", [("key", ConnectSchema("string")), ("", schema.values)], indent)
        if schema.type in _INTEGERS:
            return [f"{indent}add(long({at}))"]
        if schema.type in ("string", "bytes"):
            raw = self._variable()
            how = f"{at}.encode()" if schema.type == "string" else f"unbase64({at})"
            return [f"{indent}{raw} = {how}", f"{indent}add(long(len({raw})))", f"{indent}add({raw})"]
        if schema.type == "boolean":
            return [f"{indent}add(b'\\1' if {at} else b'\\0')"]
        return [f"{indent}add({'float32' if schema.type == 'float' else 'float64'}({at}))"]

    def _blocks(self, items: str, parts: list[tuple[str, ConnectSchema]], indent: str) -> list[str]:
        """The lines that write an array or a map: one block with the number of entries, and an empty one."""
        listed = self._variable()
        variables = [self._variable() for _ in parts]
        body = [
            line
            for variable, (_, schema) in zip(variables, parts, strict=True)
            for line in self._value(schema, variable, indent + " ")
        ]
        return [
            f"{indent}{listed} = list({items})",
            f"{indent}if {listed}: add(long(len({listed})))",
            f"{indent}for {', '.join(variables)} in {listed}:",
            *body,
            f"{indent}add(b'\\0')",
        ]

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"


def _zero(schema: ConnectSchema) -> Any:
    if schema.default is not NO_DEFAULT:
        return schema.default
    if schema.type in _INTEGERS:
        return 0
    zeros: dict[str, Any] = {"float": 0.0, "double": 0.0, "boolean": False, "array": [], "map": {}, "struct": {}}
    return zeros.get(schema.type, "")
