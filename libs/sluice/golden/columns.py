"""The golden table of an entity, from the entity's contract: its columns."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from psycopg import sql

from sluice.entities.contract import EntityContract
from sluice.entities.field_types import FieldType

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
        return (KEY, *self.field_columns, *VERSION, *ORIGIN)

    @cached_property
    def field_columns(self) -> tuple[TableColumn, ...]:
        """The columns of the contract's fields."""
        return tuple(column for name, kind in self.contract.fields.items() for column in columns_of(name, kind))

    @cached_property
    def copied(self) -> tuple[TableColumn, ...]:
        """All columns in the order of a packed row: first those of `binary.pack_origin`."""
        *origin, provenance = ORIGIN
        return (*origin, KEY, *self.field_columns, *VERSION, provenance)


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
