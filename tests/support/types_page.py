"""`docs/reference/types.md`, written from the code that makes contracts, tables and change events.

`PYTHONPATH=tests python -m support.types_page` writes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from pydantic import Base64Bytes, TypeAdapter

from sluice.cdc.column_json import PgType, json_writer
from sluice.entities import (
    Entity,
    EntityContract,
    EpochDate,
    Identity,
    Json,
    JsonText,
    MicroTimestamp,
    MilliTimestamp,
    Money,
    Scale,
)
from sluice.golden.columns import columns_of
from sluice.schemas.avro import avro_schema

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "types.md"
ENUM_OID, ENUM_ARRAY_OID = 100_000, 100_001
KNOWN = {
    oid: PgType(oid, element=element)
    for oid, element in ((1007, 23), (1009, 25), (1231, 1700), (1185, 1184), (ENUM_ARRAY_OID, ENUM_OID))
}


class Mood(StrEnum):
    SAD = "sad"
    OK = "ok"


class Arrives(NamedTuple):
    """A column: its type, its type modifier as Postgres has it, a value's text, and the model type that reads it."""

    sql: str
    oid: int
    text: str
    shown: str
    model: Any
    typmod: int = -1

    @property
    def arrived(self) -> str:
        """The value as JSON."""
        return json_writer(KNOWN, self.oid, self.typmod)(self.text.encode()).decode()

    @property
    def read(self) -> object:
        """What a mapping sees."""
        return TypeAdapter(self.model).validate_python(json.loads(self.arrived))


ARRIVES = (
    Arrives("boolean", 16, "t", "bool", bool),
    Arrives("smallint", 21, "7", "int", int),
    Arrives("integer", 23, "42", "int", int),
    Arrives("bigint", 20, "9007199254740993", "int", int),
    Arrives("numeric(12,4)", 1700, "1250.5000", "Decimal", Decimal, (12 << 16 | 4) + 4),
    Arrives("real", 700, "1.5", "float", float),
    Arrives("double precision", 701, "0.1", "float", float),
    Arrives("text", 25, "Ada", "str", str),
    Arrives("character varying(40)", 1043, "Ada", "str", str, 44),
    Arrives("character(3)", 1042, "EUR", "str", str, 7),
    Arrives("uuid", 2950, "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "UUID", UUID),
    Arrives("date", 1082, "2024-01-31", "EpochDate", EpochDate),
    Arrives("timestamp with time zone", 1184, "2024-01-31 10:00:00+00", "datetime", datetime),
    Arrives("timestamp without time zone", 1114, "2024-01-31 10:00:00", "MicroTimestamp", MicroTimestamp),
    Arrives("timestamp(3) without time zone", 1114, "2024-01-31 10:00:00.25", "MilliTimestamp", MilliTimestamp, 3),
    Arrives("time without time zone", 1083, "10:00:00", "int", int),
    Arrives("interval", 1186, "1 day 02:00:00", "str", str),
    Arrives("an enum", ENUM_OID, "ok", "Mood", Mood),
    Arrives("json", 114, '{"a": 1}', "JsonText", JsonText),
    Arrives("jsonb", 3802, '{"a": [1, 2]}', "JsonText", JsonText),
    Arrives("bytea", 17, "\\x0102", "Base64Bytes", Base64Bytes),
    Arrives("inet", 869, "10.0.0.1/8", "IPv4Interface", IPv4Interface),
    Arrives("int4range", 3904, "[1,5)", "str", str),
    Arrives("integer[]", 1007, "{1,NULL,3}", "list[int | None]", list[int | None]),
    Arrives("text[]", 1009, '{Ada,"a, b"}', "list[str]", list[str]),
    Arrives("numeric[]", 1231, "{1.50,2}", "list[Decimal]", list[Decimal]),
    Arrives("an enum's array", ENUM_ARRAY_OID, "{sad,ok}", "list[Mood]", list[Mood]),
)

FIELDS: tuple[tuple[str, Any], ...] = (
    ("str", str),
    ("int", int),
    ("bool", bool),
    ("float", float),
    ("Decimal", Decimal),
    ("Annotated[Decimal, Scale(12, 4)]", Annotated[Decimal, Scale(12, 4)]),
    ("Money", Money),
    ("date", date),
    ("datetime", datetime),
    ("bytes", bytes),
    ("a class that inherits StrEnum or OpenEnum", Mood),
    ("list[str]", list[str]),
    ("list[int | None]", list[int | None]),
    ("list[Annotated[Decimal, Scale(12, 4)]]", list[Annotated[Decimal, Scale(12, 4)]]),
    ("Json", Json),
)

_HEAD = """# Types

## Fields of an entity
What an annotation in `entities.py` becomes. A field with `| None` may be null; an entity that lacks another field is
withheld. A mapping may leave out a field with the default `UNCLAIMED`; no other default is allowed. A type that is not
listed is refused when the pipeline is loaded, with the file and the field.

| in the entity | in canonical records (Avro) | in the golden table |
|---|---|---|
"""
_BETWEEN = """
A `Decimal` or `Money` is rounded to the digits of its `Scale` (half to even) where the record is mapped, and is a dead
letter if it does not fit. A `datetime` needs a zone, and is kept to the microsecond. A field `pay` of type `Money` has
the columns `pay_amount` and `pay_currency`.

The `Identity()` field is a `str`, never null. A mapping makes a text of a number: `Book(id=str(raw.id))`.

A list has plain values, enums included: no lists, no `Money`, no `Json`. What else a source nests goes into a `Json`
field, or becomes fields and entities of its own in the mapping. `Json` is the canonical text of the value (RFC 8785),
in the table `jsonb`.

A source may add a value to an enum at any time. With a plain `StrEnum` such a record is a dead letter; an `OpenEnum`,
from `sluice.entities`, reads it as its member `UNKNOWN`, which it must have. The golden record then has the text
`unknown`; what the source wrote stands in its raw record. Once the enum has the new member, under a higher version of
the mapping, a replay puts it right. The same class serves in the mapping's model and in the entity:

```python
class Condition(OpenEnum):
    NEW = "new"
    WORN = "worn"
    UNKNOWN = "unknown"
```

What else an author writes: [rules](rules.md), [connectors](connectors.md), [the pipeline file](pipeline-file.md).

## Columns of a followed table
How a value arrives in `raw.<source>.<schema>.<table>`, and the type in a mapping's model that reads it. `EpochDate`,
`MicroTimestamp`, `MilliTimestamp` and `JsonText` are from `sluice.entities`, `Base64Bytes` is from `pydantic`.

| Postgres type | value | arrives as | model | is then |
|---|---|---|---|---|
"""
_TAIL = """
* A null arrives as `null`, which `int | None` reads. Postgres allows nulls in any array: `list[int]` refuses one that
  does, `list[int | None]` reads it. A `jsonb` that is the JSON value `null` is read as None, like a null.
* What an update left out because it did not change is carried over from the record before.
* A domain arrives as the type below it. Every other type (geometry, ranges, `xml`, extensions') arrives as Postgres'
  own text.
* A `json` or `jsonb` arrives as a text, which `JsonText` reads and a `Json` field of an entity takes as it is. With
  `pydantic.Json[Model]` it is checked against a model of its own. Its integers are exact up to 64 bits, and a dead
  letter beyond; numbers with a fraction or an exponent become doubles. A `Json` member of a record is read up to 200
  levels deep, a `Json` field of an entity takes 64.
* A `timestamp` of up to three digits arrives as milliseconds, any other as microseconds, as Debezium sends them.
* `NaN` and infinite numbers arrive as texts: `float` reads them, `Decimal` refuses them. An infinite date or time lies
  outside of Python's calendar. What a model refuses is a dead letter.
"""


def page() -> str:
    """The page as the code has it."""
    return _HEAD + "\n".join(_field_rows()) + "\n" + _BETWEEN + "\n".join(_column_rows()) + "\n" + _TAIL


def _field_rows() -> Iterator[str]:
    annotations = {f"f{number}": annotation for number, (_, annotation) in enumerate(FIELDS)}
    every: Any = type("Every", (Entity,), {"__annotations__": {"id": Annotated[str, Identity()], **annotations}})
    contract: EntityContract = every.contract()
    avro = {field["name"]: field["type"] for field in avro_schema(contract, "types")["fields"]}
    for name, (shown, _) in zip(annotations, FIELDS, strict=True):
        columns = [(column.removeprefix(name), sql) for column, sql in columns_of(name, contract.fields[name])]
        types = " and ".join(f"`{sql}`" + (f" (`{suffix}`)" if suffix else "") for suffix, sql in columns)
        yield f"| {_code(shown)} | `{_avro(avro[name])}` | {types} |"


def _avro(avro: Any) -> str:
    if isinstance(avro, str):
        return avro
    if isinstance(avro, list):
        return f"{_avro(avro[1])} or null"
    if avro["type"] == "array":
        return f"array of {_avro(avro['items'])}"
    if "connect.name" in avro:
        return f"{avro['type']}, {avro['connect.name']}"
    if avro["type"] == "record":
        return ", ".join(f"{member['name']}: {_avro(member['type'])}" for member in avro["fields"])
    logical = avro["logicalType"]
    return f"{avro['type']}, {logical}" + (f"({avro['precision']}, {avro['scale']})" if logical == "decimal" else "")


def _column_rows() -> Iterator[str]:
    for one in ARRIVES:
        cells = (_code(one.sql), _code(one.text), _code(one.arrived), _code(one.shown), _code(_read(one.read)))
        yield f"| {' | '.join(cells)} |"


def _read(value: object) -> str:
    if isinstance(value, Mood):
        return f"Mood.{value.name}"
    if isinstance(value, list):
        return f"[{', '.join(map(_read, value))}]"
    return repr(value).removeprefix("datetime.").replace("datetime.timezone.utc", "UTC").replace("TzInfo(0)", "UTC")


def _code(text: str) -> str:
    if text.startswith(("a ", "an ")):
        return text
    escaped = text.replace("|", "\\|")  # in a table, even within code
    return f"`{escaped}`"


if __name__ == "__main__":
    PAGE.write_text(page())
