"""Golden tables made and kept as the contracts say: what is missing is added, anything else is refused.

A change that is not additive is an operator's: the error holds the statement to run, and the sink resumes by itself.
Nor is a table that was filled before made again: it would stand there empty, and nothing would tell. What is wrong with
one table holds that table alone.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import structlog
from psycopg import sql

from sluice.entities.field_types import FieldType
from sluice.errors import EnvironmentFault
from sluice.golden.catalogue import WATCH_ALWAYS, Existing, Relation, existing
from sluice.golden.columns import KEY, ORIGIN, VERSION, Column, GoldenTable, columns_of
from sluice.golden.connection import Connection
from sluice.golden.faults import sink_errors
from sluice.golden.sql import statement
from sluice.golden.watch import MADE, Made, Watch, compare, refuse_renamed

_OWN_TABLES = ("_topics", "_owner", "_tombstones", "_seen", "_ledger")
_LOCK = 0x51_0C_E5_17  # advisory lock: two sinks that start at once must not race for the same DDL
# Columns that every row needs: what a row that a rebuild finds without one holds there until it is rewritten.
_NEEDED = {
    "_revision": "0",
    "_updated_at": "'epoch'",
    "_topic_epoch": "0",
    "_partition": "0",
    "_offset": "-1",
    "_provenance": "'{}'",
}

log = structlog.get_logger()


class Ensured(NamedTuple):
    """The schema as it stands now. `held`: what is wrong with a table, by topic; `unwatched`: why nothing watches
    over the tables, None where something does."""

    there: Existing
    held: Mapping[str, EnvironmentFault]
    unwatched: str | None


def ensure(
    connection: Connection, schema: str, tables: Mapping[str, GoldenTable], *, to_be_filled: bool = False
) -> Ensured:
    """Bring the schema to what `tables` (by topic) and the sink itself need, in one transaction.

    `to_be_filled`: every topic will be read from its first offset, so that a table that was lost may be made again.
    Raises EnvironmentFault where the schema itself cannot be used, such as for a missing privilege.
    """
    held: dict[str, EnvironmentFault] = {}
    with sink_errors(f"schema {schema}"), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for todo in own_plan(schema, existing(connection, schema)):
            connection.execute(todo)
        watch = Watch(connection, schema)
        unwatched = watch.install(existing(connection, schema))
        before = existing(connection, schema)
        noted = watch.noted(before)
        beside = before.tables[MADE].oid if MADE in before.tables else 0
        for topic, table in tables.items():
            made = noted.get(table.name)
            if made is not None and not to_be_filled:
                watch.tell(table, compare(table, made, before.tables.get(table.name), beside).changes)
            try:
                with sink_errors(f"table {schema}.{table.name}"), connection.transaction():
                    _ensure_table(connection, topic, table, before, made, beside, to_be_filled)
            except EnvironmentFault as fault:
                held[topic] = fault
        there = existing(connection, schema)
        good = [table for topic, table in tables.items() if topic not in held and table.name in there.tables]
        if unwatched is None:
            unwatched = watch.install_on([table for table in good if there.tables[table.name].watch != WATCH_ALWAYS])
            there = existing(connection, schema)
            for table in good:
                watch.note(table, there.tables[table.name], there.tables[MADE].oid)
                if to_be_filled:
                    watch.forget(table)
        return Ensured(there, held, unwatched)


def _ensure_table(
    connection: Connection,
    topic: str,
    table: GoldenTable,
    before: Existing,
    made: Made | None,
    beside: int,
    to_be_filled: bool,
) -> None:
    if not to_be_filled:
        _refuse_lost(connection, topic, table, before)
        refuse_renamed(table, compare(table, made, before.tables.get(table.name), beside))
        _refuse_incomplete(table, before.tables.get(table.name))
    _refuse_required(table, before.tables.get(table.name))
    for todo in table_plan(table, before):
        connection.execute(todo)
    if not to_be_filled:
        _tell_of_nulls(connection, table, before)


def _refuse_lost(connection: Connection, topic: str, table: GoldenTable, there: Existing) -> None:
    if table.name in there.columns or "_owner" not in there.columns:
        return
    owner = sql.Identifier(table.schema, "_owner")
    if connection.execute(statement("was_processed", owner=owner), {"topic": topic}).fetchone() is not None:
        raise EnvironmentFault(
            f"table {table.schema}.{table.name}",
            "does not exist, though its topic was processed: it was dropped, and would be made again without its rows",
            f"stop the sink and run `sluice sink rebuild {table.name}`",
        )


def _refuse_incomplete(table: GoldenTable, there: Relation | None) -> None:
    """What every row needs cannot be added to rows that stand; a rebuild makes it."""
    if there is None:
        return
    gone = sorted({KEY.name, *_NEEDED} - {name for name, _ in there.columns.values()})
    if gone or not there.keyed:
        lacks = f"column {gone[0]}, which every row needs" if gone else f"a unique key on {KEY.name}"
        raise EnvironmentFault(
            f"table {table.schema}.{table.name}",
            f"lacks {lacks}: it was dropped, or the table was made by others",
            f"stop the sink and run `sluice sink rebuild {table.name}`, which makes it anew",
        )


def _refuse_required(table: GoldenTable, there: Relation | None) -> None:
    """A column of others that must have a value would have every row refused, and parked."""
    others = sorted((there.required if there else frozenset()) - {column.name for column in table.columns})
    if others:
        raise EnvironmentFault(
            f"table {table.schema}.{table.name}",
            f"its column {others[0]} is not the sink's, is NOT NULL and has no default, so that no row could be added",
            f'run: ALTER TABLE "{table.schema}"."{table.name}" ALTER COLUMN "{others[0]}" DROP NOT NULL, or give it a '
            "default; the sink resumes by itself",
        )


def _tell_of_nulls(connection: Connection, table: GoldenTable, there: Existing) -> None:
    """A new field is the usual reason for a new column, so this is no fault; but a dropped column looks the same."""
    before = there.columns.get(table.name)
    added = [] if before is None else [column.name for column in table.columns if column.name not in before]
    name = sql.Identifier(table.schema, table.name)
    if added and connection.execute(statement("has_rows", table=name)).fetchone() is not None:
        log.warning(
            "columns added",
            table=f"{table.schema}.{table.name}",
            columns=added,
            why="rows written before hold null there until their entity changes",
            next=f"to fill them, stop the sink and run `sluice sink rebuild {table.name}`",
        )


def plan(schema: str, tables: Iterable[GoldenTable], there: Existing) -> list[sql.Composed]:
    """The statements that are missing; none when everything stands. Raises EnvironmentFault for other changes."""
    return own_plan(schema, there) + [todo for table in tables for todo in table_plan(table, there)]


def own_plan(schema: str, there: Existing) -> list[sql.Composed]:
    """What is missing of the sink's own tables."""
    todo: list[sql.Composed] = []
    if not there.columns:
        todo.append(statement("create_schema", schema=sql.Identifier(schema)))
    if "_graves" in there.columns:
        merging = "merge_graves" if "_tombstones" in there.columns else "rename_graves"
        todo.append(statement(merging, schema=sql.Identifier(schema)))
    if any(name not in there.columns for name in _OWN_TABLES):
        todo.append(statement("schema", schema=sql.Identifier(schema)))
    elif "paused_at" not in there.columns["_owner"]:
        todo.append(statement("add_paused_at", owner=sql.Identifier(schema, "_owner")))
    return todo


def table_plan(table: GoldenTable, there: Existing) -> list[sql.Composed]:
    """What is missing of a golden table and its view."""
    todo = _table_plan(table, there.columns.get(table.name), there.tables.get(table.name))
    return todo + _view_plan(table, there.views.get(f"{table.name}_provenance"))


def _table_plan(table: GoldenTable, there: Mapping[str, str] | None, as_it_is: Relation | None) -> list[sql.Composed]:
    name = sql.Identifier(table.schema, table.name)
    if there is None:
        lines = [_definition(column) for column in table.columns]
        return [statement("create_table", table=name, columns=sql.SQL(", ").join(lines))]
    _refuse_other_types(table, there)
    added = [
        statement("add_column", table=name, column=_definition(column))
        for column in table.columns
        if column.name not in there and (as_it_is is None or column not in (KEY, *VERSION, *ORIGIN))
    ]
    if as_it_is is None:
        return added
    return _completing_plan(table, as_it_is, there) + added


def _completing_plan(table: GoldenTable, as_it_is: Relation, there: Mapping[str, str]) -> list[sql.Composed]:
    """What a rebuild needs of a table that somebody else made or cut: its rows go where nothing tells their entity."""
    name, key = sql.Identifier(table.schema, table.name), sql.Identifier(KEY.name)
    todo: list[sql.Composed] = []
    if not as_it_is.keyed:
        todo.append(statement("delete_all", table=name))
        if KEY.name not in there:
            todo.append(statement("add_key_column", table=name, key=key))
        todo.append(statement("add_key", table=name, key=key))
    lacking = [column for column in (*VERSION, *ORIGIN) if column.name not in there]
    for column in lacking:
        parts = {"column": _definition(column), "default": sql.SQL(_NEEDED[column.name])}
        todo.append(statement("add_needed_column", table=name, column_name=sql.Identifier(column.name), **parts))
    return todo


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
                f'USING "{column.name}"::{column.sql_type}; the sink resumes by itself and makes the view again. '
                f"Then stop it, run `sluice sink rebuild {table.name}`, and start it: older rows have the old values",
            )


def _view_plan(table: GoldenTable, comment: str | None) -> list[sql.Composed]:
    fields = sql.SQL(", ").join(_view_field(name, kind) for name, kind in table.contract.fields.items())
    view = sql.Identifier(table.schema, f"{table.name}_provenance")
    made = statement("view", view=view, table=sql.Identifier(table.schema, table.name), fields=fields)
    digest = hashlib.sha256(made.as_string(None).encode()).hexdigest()[:16]
    if comment == digest:
        return []
    return [made, statement("comment_view", view=view, digest=sql.Literal(digest))]


def _view_field(name: str, kind: FieldType) -> sql.Composed:
    columns = [sql.SQL("t.{}::text").format(sql.Identifier(column.name)) for column in columns_of(name, kind)]
    return sql.SQL("({}, {})").format(sql.Literal(name), sql.SQL(" || ' ' || ").join(columns))
