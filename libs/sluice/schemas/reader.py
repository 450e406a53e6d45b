"""Generates readers of Avro binary from a writer's schema. A reader turns bytes into JSON values, as in contributions.

fastavro resolves the schema, but does not read the records, for two reasons. fastavro needs 26 µs for a record of the
tests, and its Python values would still have to become JSON; generated code needs 35 µs for both. And fastavro trusts
any count of items in an array.

A reader supports only the types that canonical records use: records, arrays, `["null", T]`, primitives, decimal, date
and timestamp-micros. Malicious input is refused: a length beyond the end of the bytes, and a schema that contains
itself.
"""

import base64
import struct
from collections.abc import Callable
from typing import Any, TypeVar

from sluice.generated_code import run_generated
from sluice.schemas.avro import UnreadableSchema, resolved
from sluice.times import from_days

Read = Callable[[bytes, int], tuple[Any, int]]
Item = TypeVar("Item")

DECIMAL_BYTES_MAX = 32
_DEPTH_MAX = 16
# The highest bit of each byte of an Avro integer says whether another byte follows. `_CONTINUED` has these bits of
# eight bytes, and `_EIGHT_BYTES` has their values in an integer of exactly eight bytes. The last byte is the highest.
_CONTINUED, _EIGHT_BYTES = 0x8080808080808080, 0x0080808080808080
_unpack_double = struct.Struct("<d").unpack_from


class NotAvro(ValueError):
    """Bytes do not fit the Avro schema with which they are read. The error text quotes none of the bytes."""


def compile_reader(schema: Any) -> Read:
    """A reader for `schema`: a function (bytes, index of a value) -> (the value, index of the first byte after it).

    The reader raises NotAvro, IndexError or UnicodeDecodeError if the bytes do not fit the schema. `compile_reader`
    itself raises UnreadableSchema if `schema` is not Avro or uses an unsupported type.
    """
    return _Compiler().reader(resolved(schema)[0], 0)


def compile_members(schema: Any) -> dict[str, Read]:
    """The readers of the fields of a record type, by field name. Otherwise as `compile_reader`."""
    record = resolved(schema)[0]
    if not isinstance(record, dict) or record["type"] != "record":
        raise UnreadableSchema("not a record")
    compiler = _Compiler()
    return {member["name"]: compiler.reader(member["type"], 1) for member in record["fields"]}


class _Compiler:
    def __init__(self) -> None:
        self._named: dict[str, Read] = {}

    def reader(self, schema: Any, depth: int) -> Read:
        if depth > _DEPTH_MAX:
            raise UnreadableSchema(f"deeper than {_DEPTH_MAX} levels")
        if isinstance(schema, list):
            return self._optional(schema, depth)
        if isinstance(schema, str):
            return self._by_name(schema)
        if schema["type"] == "record":
            return self._record(schema, depth)
        if schema["type"] == "array":
            return array_reader(self.reader(schema["items"], depth + 1))
        return self._logical(schema)

    def _by_name(self, name: str) -> Read:
        known = _PRIMITIVES.get(name) or self._named.get(name)
        if known is None:
            raise UnreadableSchema(f"type {name} is not read here, or contains itself")
        return known

    def _logical(self, schema: dict[str, Any]) -> Read:
        kind, logical = schema["type"], schema.get("logicalType")
        if logical == "decimal" and kind == "bytes":
            return _decimal_at(schema.get("scale", 0))
        if logical == "date" and kind == "int":
            return _read_date
        if logical is None or (logical == "timestamp-micros" and kind == "long"):
            return self._by_name(kind)
        raise UnreadableSchema(f"logical type {logical} of {kind}")

    def _optional(self, branches: list[Any], depth: int) -> Read:
        if len(branches) != 2 or branches[0] != "null":
            raise UnreadableSchema('a union other than ["null", T]')
        inner = self.reader(branches[1], depth + 1)

        def read(data: bytes, at: int) -> tuple[Any, int]:
            branch = data[at]
            if branch == 2:
                return inner(data, at + 1)
            if branch:
                raise NotAvro("a union's branch that does not exist")
            return None, at + 1

        return read

    def _record(self, schema: dict[str, Any], depth: int) -> Read:
        if not schema["fields"]:
            raise UnreadableSchema(f"record {schema['name']} has no fields")
        readers = {member["name"]: self.reader(member["type"], depth + 1) for member in schema["fields"]}
        read = self._named[schema["name"]] = _generate_record(schema["name"], readers)
        return read


def _generate_record(record: str, readers: dict[str, Read]) -> Read:
    """Generate the reader of the Avro type `record`: Python code with a call for each field, then one dict of all
    values. The names of fields get into the code as quoted constants."""
    names: dict[str, Any] = {f"read{index}": reader for index, reader in enumerate(readers.values())}
    lines = [f" value{index}, at = read{index}(data, at)" for index in range(len(readers))]
    members = ", ".join(f"{name!r}: value{index}" for index, name in enumerate(readers))
    source = "\n".join(["def read(data, at):", *lines, f" return {{{members}}}, at"])
    read: Read = run_generated(source, f"<reader of Avro record {record}>", names)["read"]
    return read


def array_reader(item: Callable[[bytes, int], tuple[Item, int]]) -> Callable[[bytes, int], tuple[list[Item], int]]:
    """A reader of Avro arrays, from the reader of an item. It raises NotAvro if an array has more items than bytes."""

    def read(data: bytes, at: int) -> tuple[list[Item], int]:
        items: list[Item] = []
        while True:
            count, at = read_long(data, at)
            if count == 0:
                return items, at
            if count < 0:  # a negative count means that the size of the block in bytes follows, which is not needed
                count = -count
                _, at = read_long(data, at)
            if count > len(data) - at:
                raise NotAvro("an array longer than the record")
            for _ in range(count):
                value, at = item(data, at)
                items.append(value)

    return read


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """An Avro int or long, and the index after it. Raises NotAvro if it has more than 64 bits."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number = byte & 0x7F
    byte = data[at + 1]
    if byte < 0x80:
        number |= byte << 7
        return (number >> 1) ^ -(number & 1), at + 2
    number |= (byte & 0x7F) << 7
    byte = data[at + 2]
    if byte < 0x80:
        number |= byte << 14
        return (number >> 1) ^ -(number & 1), at + 3
    at += 3
    number |= (byte & 0x7F) << 14
    for shift in range(21, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise NotAvro("an integer of more than 64 bits")
    if number >> 64:
        raise NotAvro("an integer of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def read_time(data: bytes, at: int) -> tuple[int, int]:
    """As `read_long`, and faster for an integer of eight bytes, as a time in µs has. The seven bits of each byte are
    joined in three steps: to pairs, to fours, to all eight."""
    word = int.from_bytes(data[at : at + 8], "little")
    if word & _CONTINUED != _EIGHT_BYTES:
        return read_long(data, at)
    word &= 0x7F7F7F7F7F7F7F7F
    word = word & 0x007F007F007F007F | (word & 0x7F007F007F007F00) >> 1
    word = word & 0x00003FFF00003FFF | (word & 0x3FFF00003FFF0000) >> 2
    number = word & 0x0FFFFFFF | (word & 0x0FFFFFFF00000000) >> 4
    return (number >> 1) ^ -(number & 1), at + 8


def read_slice(data: bytes, at: int) -> tuple[bytes, int]:
    """Avro bytes or the bytes of a string, and the index after them. Raises NotAvro if they are not all there."""
    size, at = read_long(data, at)
    end = at + size
    if size < 0 or end > len(data):
        raise NotAvro("a length beyond the end of the record")
    return data[at:end], end


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    value, at = read_slice(data, at)
    return value.decode(), at


def _read_bytes(data: bytes, at: int) -> tuple[str, int]:
    value, at = read_slice(data, at)
    return base64.b64encode(value).decode("ascii"), at


def _read_bool(data: bytes, at: int) -> tuple[bool, int]:
    return data[at] == 1, at + 1


def _read_double(data: bytes, at: int) -> tuple[float, int]:
    if at + 8 > len(data):
        raise NotAvro("a number beyond the end of the record")
    return _unpack_double(data, at)[0], at + 8


def _read_date(data: bytes, at: int) -> tuple[str, int]:
    days, at = read_long(data, at)
    try:
        return from_days(days).isoformat(), at
    except OverflowError:
        raise NotAvro("a date outside of the years 1 to 9999") from None


def _decimal_at(scale: int) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        raw, at = read_slice(data, at)
        if not 0 < len(raw) <= DECIMAL_BYTES_MAX:
            raise NotAvro("a decimal of no digits, or of more than any contract has")
        unscaled = int.from_bytes(raw, "big", signed=True)
        digits = str(abs(unscaled)).rjust(scale + 1, "0")
        sign = "-" if unscaled < 0 else ""
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}", at

    return read


_PRIMITIVES: dict[str, Read] = {
    "string": _read_string,
    "bytes": _read_bytes,
    "int": read_long,
    "long": read_long,
    "boolean": _read_bool,
    "double": _read_double,
}
