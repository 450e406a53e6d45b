"""The tables and views of a sink's schema, read from Postgres's catalogue."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from sluice.errors import EnvironmentFault
from sluice.golden.connection import Connection
from sluice.golden.sql import statement

WATCH_ALWAYS = "A"
# Bits of `pg_trigger.tgtype`.
DELETE = 8
UPSERT = 4 | 16


class TableInfo(NamedTuple):
    """A table as Postgres's catalogue describes it.

    `columns`: (name, type) by column number. `required`: the columns for which an insert must give a value. `watch`:
    when the table's watch trigger fires, as in `pg_trigger.tgenabled`; empty without a watch. `keyed`: whether entity
    ids are unique. `kin`: the tables that inherit from this table or that it inherits from.
    """

    oid: int
    columns: Mapping[int, tuple[str, str]]
    required: frozenset[str]
    watch: str
    keyed: bool
    kin: tuple[str, ...] = ()

    @property
    def types(self) -> dict[str, str]:
        """The SQL type of each column, by column name."""
        return dict(self.columns.values())


class SchemaState(NamedTuple):
    """The tables of a schema by name, and by view name the hash that the view's comment contains."""

    tables: Mapping[str, TableInfo]
    views: Mapping[str, str]


def read_schema(connection: Connection, schema: str) -> SchemaState:
    columns: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    required: dict[str, set[str]] = defaultdict(set)
    for table, number, column, sql_type, is_required in connection.execute(statement("columns"), [schema]):
        columns[table][number] = (column, sql_type)
        if is_required:
            required[table].add(column)
    tables = {
        name: TableInfo(oid, columns[name], frozenset(required[name]), watch, keyed, tuple(kin))
        for name, oid, watch, keyed, kin in connection.execute(statement("tables"), [schema])
    }
    views = connection.execute(statement("view_comments"), [schema]).fetchall()
    return SchemaState(tables, dict(views))


def dropped_rows_fault(
    connection: Connection, table: sql.Identifier, where: str, events: int, rows: int
) -> EnvironmentFault:
    """The fault for `rows` rows that Postgres accepted and did not write. It names the triggers and rules that can drop
    rows. `events`: bits of `pg_trigger.tgtype` of the statement."""
    name = sql.Literal(table.as_string(connection))
    found = connection.execute(statement("row_filters", table=name), {"events": events}).fetchall()
    names = " or ".join(name for (name,) in found) or "something that its catalogue does not show"
    return EnvironmentFault(
        where,
        f"Postgres accepted the statement and left out {rows} row{'s' if rows > 1 else ''}: dropped by {names}",
        "let that trigger return NEW (of a delete: OLD), or drop it; nothing is committed meanwhile, and the sink "
        "resumes by itself",
    )
