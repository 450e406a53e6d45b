"""Golden tables made and kept as the contracts say: what is missing is added, anything else is refused.

A change that is not additive is an operator's: the error holds the statement to run, and the sink resumes by itself.
Nor is a table that was filled before made again: it would stand there empty, and nothing would tell.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import structlog
from psycopg import sql

from sluice.entities.field_types import FieldType
from sluice.errors import EnvironmentFault
from sluice.postgres.golden_columns import KEY, ORIGIN, VERSION, Column, GoldenTable, columns_of
from sluice.postgres.sink_connection import Connection
from sluice.postgres.sink_faults import sink_errors
from sluice.postgres.sink_sql import statement

_OWN_TABLES = ("_topics", "_owner", "_graves", "_seen", "_ledger")
_LOCK = 0x51_0C_E5_17  # advisory lock: two sinks that start at once must not race for the same DDL

log = structlog.get_logger()


class Existing(NamedTuple):
    """What stands in the schema: columns by relation, and the hash kept with each view."""

    columns: Mapping[str, Mapping[str, str]]
    views: Mapping[str, str]


def ensure(
    connection: Connection, schema: str, tables: Mapping[str, GoldenTable], *, to_be_filled: bool = False
) -> None:
    """Bring the schema to what `tables` (by topic) and the sink itself need, in one transaction.

    `to_be_filled`: every topic will be read from its first offset, so that a table that was lost may be made again.
    Raises EnvironmentFault for a table that was lost, a change that is not additive, or a missing privilege.
    """
    with sink_errors(f"schema {schema}"), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        there = existing(connection, schema)
        if not to_be_filled:
            _refuse_lost(connection, schema, tables, there)
        for todo in plan(schema, tables.values(), there):
            connection.execute(todo)
        if not to_be_filled:
            _tell_of_nulls(connection, tables.values(), there)


def _refuse_lost(connection: Connection, schema: str, tables: Mapping[str, GoldenTable], there: Existing) -> None:
    missing = {topic: table.name for topic, table in tables.items() if table.name not in there.columns}
    if not missing or "_owner" not in there.columns:
        return
    owner = sql.Identifier(schema, "_owner")
    question = sql.SQL("SELECT DISTINCT topic FROM {} WHERE processed > 0 AND topic = ANY(%s) ORDER BY 1").format(owner)
    lost = [missing[topic] for (topic,) in connection.execute(question, [list(missing)])]
    if lost:
        raise EnvironmentFault(
            f"table {schema}.{lost[0]}",
            "does not exist, though its topic was processed: it was dropped, and would be made again without its rows",
            f"stop the sink and run `sluice sink rebuild {' '.join(lost)}`",
        )


def _tell_of_nulls(connection: Connection, tables: Iterable[GoldenTable], there: Existing) -> None:
    """A new field is the usual reason for a new column, so this is no fault; but a dropped column looks the same."""
    for table in tables:
        before = there.columns.get(table.name)
        added = [] if before is None else [column.name for column in table.columns if column.name not in before]
        name = sql.Identifier(table.schema, table.name)
        if added and connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(name)).fetchone() is not None:
            log.warning(
                "columns added",
                table=f"{table.schema}.{table.name}",
                columns=added,
                why="rows written before hold null there until their entity changes",
                next=f"to fill them, stop the sink and run `sluice sink rebuild {table.name}`",
            )


def existing(connection: Connection, schema: str) -> Existing:
    """Read the catalogue."""
    columns: dict[str, dict[str, str]] = {}
    for relation, column, sql_type in connection.execute(statement("columns"), [schema]):
        columns.setdefault(relation, {})[column] = sql_type
    views = connection.execute(statement("view_comments"), [schema]).fetchall()
    return Existing(columns, dict(views))


def plan(schema: str, tables: Iterable[GoldenTable], there: Existing) -> list[sql.Composed]:
    """The statements that are missing; none when everything stands. Raises EnvironmentFault for other changes."""
    todo: list[sql.Composed] = []
    if not there.columns:
        todo.append(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    if any(name not in there.columns for name in _OWN_TABLES):
        todo.append(statement("schema", schema=sql.Identifier(schema)))
    elif "paused_at" not in there.columns["_owner"]:
        owner = sql.Identifier(schema, "_owner")
        todo.append(sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS paused_at double precision").format(owner))
    for table in tables:
        todo += _table_plan(table, there.columns.get(table.name))
        todo += _view_plan(table, there.views.get(f"{table.name}_provenance"))
    return todo


def _table_plan(table: GoldenTable, there: Mapping[str, str] | None) -> list[sql.Composed]:
    name = sql.Identifier(table.schema, table.name)
    if there is None:
        lines = [_definition(column) for column in table.columns]
        return [sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(name, sql.SQL(", ").join(lines))]
    _refuse_other_types(table, there)
    return [
        sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(name, _definition(column))
        for column in table.columns
        if column.name not in there
    ]


def _definition(column: Column) -> sql.Composed:
    more = " PRIMARY KEY" if column == KEY else " NOT NULL" if column in (*VERSION, *ORIGIN) else ""
    return sql.Identifier(column.name) + sql.SQL(f" {column.sql_type}{more}")


def _refuse_other_types(table: GoldenTable, there: Mapping[str, str]) -> None:
    for column in table.columns:
        found = there.get(column.name, column.sql_type)
        if found != column.sql_type:
            name = f'"{table.schema}"."{table.name}"'
            raise EnvironmentFault(
                f"table {table.schema}.{table.name}",
                f"column {column.name} is {found}, and the contract says {column.sql_type}",
                f'run: DROP VIEW IF EXISTS "{table.schema}"."{table.name}_provenance"; '
                f'ALTER TABLE {name} ALTER COLUMN "{column.name}" TYPE {column.sql_type} '
                f'USING "{column.name}"::{column.sql_type}; the sink resumes by itself and makes the view anew',
            )


def _view_plan(table: GoldenTable, comment: str | None) -> list[sql.Composed]:
    fields = sql.SQL(", ").join(_view_field(name, kind) for name, kind in table.contract.fields.items())
    view = sql.Identifier(table.schema, f"{table.name}_provenance")
    made = statement("view", view=view, table=sql.Identifier(table.schema, table.name), fields=fields)
    digest = hashlib.sha256(made.as_string(None).encode()).hexdigest()[:16]
    if comment == digest:
        return []
    return [made, sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(digest))]


def _view_field(name: str, kind: FieldType) -> sql.Composed:
    columns = [sql.SQL("t.{}::text").format(sql.Identifier(column.name)) for column in columns_of(name, kind)]
    return sql.SQL("({}, {})").format(sql.Literal(name), sql.SQL(" || ' ' || ").join(columns))
