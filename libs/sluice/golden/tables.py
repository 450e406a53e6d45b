"""Creates golden tables from the contracts, and adds missing columns. Any other difference is a fault of that table.

An operator makes a change that is not additive: the error contains the statement to run, and the sink then resumes by
itself. A table that was filled before is not re-created, because it would be empty without notice. A fault of one table
stops only that table.
"""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import structlog
from psycopg import sql

from sluice.entities.field_types import FieldType
from sluice.errors import EnvironmentFault
from sluice.golden.catalogue import WATCH_ALWAYS, SchemaState, TableInfo, read_schema
from sluice.golden.columns import KEY, ORIGIN, VERSION, GoldenTable, TableColumn, columns_of
from sluice.golden.connection import Connection
from sluice.golden.faults import sink_errors
from sluice.golden.sql import statement
from sluice.golden.watch import NOTES, ForeignChanges, Watch, compare, refuse_renamed

_OWN_TABLES = ("_topics", "_owner", "_tombstones", "_seen", "_ledger")
_LOCK = 0x51_0C_E5_17  # advisory lock: two sinks that start at once must not race for the same DDL
# Columns that every row needs, by name the SQL value that a rebuild gives to existing rows until it rewrites them.
_REQUIRED = {
    "_revision": "0",
    "_updated_at": "'epoch'",
    "_topic_epoch": "0",
    "_partition": "0",
    "_offset": "-1",
    "_provenance": "'{}'",
}

log = structlog.get_logger()


class SchemaCheck(NamedTuple):
    """The schema after `ensure`. `faults`: by topic, the fault of the topic's table. `unwatched`: the reason why the
    tables are not watched, None if they are."""

    state: SchemaState
    faults: Mapping[str, EnvironmentFault]
    unwatched: str | None


def ensure(
    connection: Connection, schema: str, tables: Mapping[str, GoldenTable], *, to_be_filled: bool = False
) -> SchemaCheck:
    """Create the missing objects of the schema in one transaction: those of `tables` (by topic) and the sink's own
    tables.

    `to_be_filled`: every topic will be read from its first offset, so that a lost table may be re-created.
    Raises EnvironmentFault if the schema itself cannot be used, for example because a privilege is missing.
    """
    faults: dict[str, EnvironmentFault] = {}
    with sink_errors(f"schema {schema}"), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        state = read_schema(connection, schema)
        for todo in own_plan(schema, state):
            connection.execute(todo)
        watch = Watch(connection, schema)
        unwatched = watch.install(state)
        before = read_schema(connection, schema)
        noted = watch.noted(before)
        notes_oid = before.tables[NOTES].oid if NOTES in before.tables else 0
        for topic, table in tables.items():
            foreign = compare(table, noted.get(table.name), before.tables.get(table.name), notes_oid)
            if not to_be_filled:
                watch.note_changes(table, foreign.changes)
            try:
                with sink_errors(f"table {schema}.{table.name}"), connection.transaction():
                    _ensure_table(connection, topic, table, before, None if to_be_filled else foreign)
            except EnvironmentFault as fault:
                faults[topic] = fault
        state = read_schema(connection, schema)
        good = [table for topic, table in tables.items() if topic not in faults and table.name in state.tables]
        if unwatched is None:
            unwatched = watch.install_on([table for table in good if state.tables[table.name].watch != WATCH_ALWAYS])
            state = read_schema(connection, schema)
            for table in good:
                watch.note(table, state.tables[table.name], state.tables[NOTES].oid)
                if to_be_filled:
                    watch.delete_notes(table)
        return SchemaCheck(state, faults, unwatched)


def _ensure_table(
    connection: Connection, topic: str, table: GoldenTable, before: SchemaState, foreign: ForeignChanges | None
) -> None:
    """`foreign`: changes of the table by others; None before a rebuild, which repairs all of them."""
    now = before.tables.get(table.name)
    if foreign is not None:
        _refuse_lost(connection, topic, table, before)
        refuse_renamed(table, foreign)
        _refuse_incomplete(table, now)
    _refuse_required(table, now)
    for todo in table_plan(table, before):
        connection.execute(todo)
    if foreign is not None and now is not None:
        _report_added_columns(connection, table, now)


def _refuse_lost(connection: Connection, topic: str, table: GoldenTable, state: SchemaState) -> None:
    if table.name in state.tables or "_owner" not in state.tables:
        return
    was_processed = statement("was_processed", owner=table.own("_owner"))
    if connection.execute(was_processed, {"topic": topic}).fetchone() is not None:
        raise EnvironmentFault(
            table.place,
            "does not exist, though its topic was processed: it was dropped, and a new table would lack its rows",
            f"stop the sink and run `sluice sink rebuild {table.name}`",
        )


def _refuse_incomplete(table: GoldenTable, now: TableInfo | None) -> None:
    """Raises EnvironmentFault if the table lacks a column that every row needs, or the key. Only a rebuild adds
    these."""
    if now is None:
        return
    missing = sorted({KEY.name, *_REQUIRED} - now.types.keys())
    if missing or not now.keyed:
        lacks = f"column {missing[0]}, which every row needs" if missing else f"a unique key on {KEY.name}"
        raise EnvironmentFault(
            table.place,
            f"lacks {lacks}: it was dropped, or others created the table",
            f"stop the sink and run `sluice sink rebuild {table.name}`, which adds it",
        )


def _refuse_required(table: GoldenTable, now: TableInfo | None) -> None:
    """Raises EnvironmentFault if others added a NOT NULL column without a default. Postgres would refuse every new row,
    and the sink would park all records."""
    others = sorted((now.required if now else frozenset()) - {column.name for column in table.columns})
    if others:
        raise EnvironmentFault(
            table.place,
            f"its column {others[0]} is not the sink's, is NOT NULL and has no default, so that no row could be added",
            f'run: ALTER TABLE {table.quoted} ALTER COLUMN "{others[0]}" DROP NOT NULL, or give it a '
            "default; the sink resumes by itself",
        )


def _report_added_columns(connection: Connection, table: GoldenTable, before: TableInfo) -> None:
    """Warn about columns that were added to a table with rows. This is no fault, because a new field is the usual
    reason; a column that others dropped looks the same."""
    types = before.types
    added = [column.name for column in table.columns if column.name not in types]
    if added and connection.execute(statement("has_rows", table=table.identifier)).fetchone() is not None:
        log.warning(
            "columns added",
            table=table.full_name,
            columns=added,
            why="they are null in rows written before, until their entity changes",
            next=f"to fill them, stop the sink and run `sluice sink rebuild {table.name}`",
        )


def own_plan(schema: str, state: SchemaState) -> list[sql.Composed]:
    """The statements that create or migrate the sink's own tables where the schema lacks them."""
    todo: list[sql.Composed] = []
    if not state.tables:
        todo.append(statement("create_schema", schema=sql.Identifier(schema)))
    if "_graves" in state.tables:  # the name of `_tombstones` in older versions
        name = "merge_old_tombstones" if "_tombstones" in state.tables else "rename_old_tombstones"
        todo.append(statement(name, schema=sql.Identifier(schema)))
    if any(name not in state.tables for name in _OWN_TABLES):
        todo.append(statement("schema", schema=sql.Identifier(schema)))
    elif "paused_at" not in state.tables["_owner"].types:
        todo.append(statement("add_paused_at", owner=sql.Identifier(schema, "_owner")))
    return todo


def table_plan(table: GoldenTable, state: SchemaState) -> list[sql.Composed]:
    """The statements that create a golden table and its view, or the missing columns of them.

    Raises EnvironmentFault if a column has another type than the contract says.
    """
    todo = _columns_plan(table, state.tables.get(table.name))
    return todo + _view_plan(table, state.views.get(f"{table.name}_provenance"))


def _columns_plan(table: GoldenTable, now: TableInfo | None) -> list[sql.Composed]:
    name = table.identifier
    if now is None:
        columns = sql.SQL(", ").join(map(_definition, table.columns))
        return [statement("create_table", table=name, columns=columns)]
    types = now.types
    _refuse_other_types(table, types)
    missing = [column for column in table.field_columns if column.name not in types]
    return _repair_plan(table, now) + [
        statement("add_column", table=name, column=_definition(column)) for column in missing
    ]


def _repair_plan(table: GoldenTable, now: TableInfo) -> list[sql.Composed]:
    """The statements that add the key and the required columns before a rebuild. Without a key all rows are deleted."""
    name, key = table.identifier, sql.Identifier(KEY.name)
    todo: list[sql.Composed] = []
    if not now.keyed:
        todo.append(statement("delete_all", table=name))
        if KEY.name not in now.types:
            todo.append(statement("add_key_column", table=name, key=key))
        todo.append(statement("add_key", table=name, key=key))
    for column in (*VERSION, *ORIGIN):
        if column.name not in now.types:
            parts = {"column": _definition(column), "default": sql.SQL(_REQUIRED[column.name])}
            column_name = sql.Identifier(column.name)
            todo.append(statement("add_required_column", table=name, column_name=column_name, **parts))
    return todo


def _definition(column: TableColumn) -> sql.Composed:
    constraint = " PRIMARY KEY" if column == KEY else " NOT NULL" if column in (*VERSION, *ORIGIN) else ""
    return sql.Identifier(column.name) + sql.SQL(f" {column.sql_type}{constraint}")


def _refuse_other_types(table: GoldenTable, types: Mapping[str, str]) -> None:
    for column in table.columns:
        found = types.get(column.name, column.sql_type)
        if found != column.sql_type:
            raise EnvironmentFault(
                table.place,
                f"column {column.name} is {found}, and the contract says {column.sql_type}",
                f'run: DROP VIEW IF EXISTS "{table.schema}"."{table.name}_provenance"; '
                f'ALTER TABLE {table.quoted} ALTER COLUMN "{column.name}" TYPE {column.sql_type} '
                f'USING "{column.name}"::{column.sql_type}; the sink resumes by itself and re-creates the view. '
                f"Then stop it, run `sluice sink rebuild {table.name}`, and start it: older rows have the old values",
            )


def _view_plan(table: GoldenTable, comment: str | None) -> list[sql.Composed]:
    fields = sql.SQL(", ").join(_view_field(name, kind) for name, kind in table.contract.fields.items())
    view = table.own(f"{table.name}_provenance")
    create = statement("view", view=view, table=table.identifier, fields=fields)
    digest = hashlib.sha256(create.as_string(None).encode()).hexdigest()[:16]
    if comment == digest:
        return []
    return [create, statement("comment_view", view=view, digest=sql.Literal(digest))]


def _view_field(name: str, kind: FieldType) -> sql.Composed:
    columns = [sql.SQL("t.{}::text").format(sql.Identifier(column.name)) for column in columns_of(name, kind)]
    return sql.SQL("({}, {})").format(sql.Literal(name), sql.SQL(" || ' ' || ").join(columns))
