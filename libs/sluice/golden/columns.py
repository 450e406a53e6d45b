"""The golden table of an entity, from the entity's contract: its columns, and the row of a canonical record."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from sluice.entities.contract import EntityContract
from sluice.entities.field_types import FieldType
from sluice.errors import DeadRecord
from sluice.times import from_us

_SQL_TYPES = {
    "string": "text",
    "int": "bigint",
    "bool": "boolean",
    "float": "double precision",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "bytes": "bytea",
    "json": "jsonb",
}


class TableColumn(NamedTuple):
    """A column. `sql_type` is written as Postgres's `format_type` writes it."""

    name: str
    sql_type: str


class GoldenRow(NamedTuple):
    """The row of an entity. `values`: those of the fields, `_revision` and `_updated_at`. `provenance` is JSON."""

    entity_id: str
    values: tuple[Any, ...]
    provenance: str


KEY = TableColumn("entity_id", "text")
VERSION = (TableColumn("_revision", "bigint"), TableColumn("_updated_at", "timestamp with time zone"))
ORIGIN = (
    TableColumn("_topic_epoch", "integer"),
    TableColumn("_partition", "integer"),
    TableColumn("_offset", "bigint"),
    TableColumn("_provenance", "jsonb"),
)


@dataclass(frozen=True)
class GoldenTable:
    """The table of the golden records of one entity."""

    schema: str
    contract: EntityContract

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def full_name(self) -> str:
        """`schema.name`, without quotes, for messages."""
        return f"{self.schema}.{self.name}"

    @property
    def place(self) -> str:
        """The table as the place of an error: `table schema.name`."""
        return f"table {self.full_name}"

    @property
    def quoted(self) -> str:
        """`"schema"."name"`, quoted for SQL statements that an operator runs."""
        return f'"{self.schema}"."{self.name}"'

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    def own(self, name: str) -> sql.Identifier:
        """The identifier of `name`, one of the sink's own tables, in the schema of this table."""
        return sql.Identifier(self.schema, name)

    @cached_property
    def columns(self) -> tuple[TableColumn, ...]:
        """All columns in order: the entity id, the contract's fields, version, origin."""
        fields = [column for name, kind in self.contract.fields.items() for column in columns_of(name, kind)]
        return (KEY, *fields, *VERSION, *ORIGIN)

    @cached_property
    def _cells(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        return tuple(cell for name, kind in self.contract.fields.items() for cell in _cells_of(name, kind))

    def row(self, entity_id: str, fields: Mapping[str, Any], sluice: Mapping[str, Any]) -> GoldenRow:
        """The row of a canonical record. A field that the record lacks, because of an older contract, is null.

        Raises DeadRecord for a value that Postgres can never store.
        """
        try:
            values = [None if fields.get(name) is None else cell(fields[name]) for name, cell in self._cells]
            version = (sluice["revision"], from_us(sluice["updated_at"]))
        except OverflowError:
            raise DeadRecord("time-out-of-range", f"{self.name} has a time outside of the years 1 to 9999") from None
        provenance = {"contributors": sluice["contributors"], "winners": sluice["winners"]}
        return GoldenRow(entity_id, (*values, *version), orjson.dumps(provenance).decode())


def columns_of(name: str, kind: FieldType) -> tuple[TableColumn, ...]:
    """The columns of one field: two for money, one for every other type."""
    if kind.kind == "money":
        return (
            TableColumn(f"{name}_amount", f"numeric({kind.precision},{kind.scale})"),
            TableColumn(f"{name}_currency", "character(3)"),
        )
    if kind.item is not None:
        (item,) = columns_of(name, kind.item)
        return (TableColumn(name, f"{item.sql_type}[]"),)
    if kind.kind == "decimal":
        return (TableColumn(name, f"numeric({kind.precision},{kind.scale})"),)
    return (TableColumn(name, _SQL_TYPES[kind.kind]),)


def _cells_of(name: str, kind: FieldType) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    if kind.kind == "money":
        return (name, lambda value: value["amount"]), (name, lambda value: value["currency"])
    return ((name, _cell_of(kind)),)


def _cell_of(kind: FieldType) -> Callable[[Any], Any]:
    if kind.item is not None:
        item = _cell_of(kind.item)
        return lambda values: [None if value is None else item(value) for value in values]
    return _CELLS.get(kind.kind, lambda value: value)


def _text(value: str) -> str:
    if "\0" in value:
        raise DeadRecord("nul-character", "a string contains U+0000, which Postgres cannot store")
    return value


def _hex(value: str) -> str:
    return f"\\x{base64.b64decode(value).hex()}"


_CELLS: dict[str, Callable[[Any], Any]] = {"timestamp": from_us, "bytes": _hex, "string": _text}
