"""The watch over golden tables. The sink owns these tables: a write by others is a fault until the table is rebuilt.

A trigger on each table notes every statement that is not the sink's. The trigger does not see other changes: a table
re-created, a column dropped or renamed, the trigger switched off. The sink finds these when it compares the table with
the sink's last note of it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from sluice.errors import EnvironmentFault
from sluice.golden.catalogue import WATCH_ALWAYS, SchemaState, TableInfo
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.sql import statement

WRITES, NOTES = "_foreign_writes", "_made"
_NAMED_MAX = 5
_SWITCHED_OFF = "its trigger sluice_watch was dropped or switched off, so that writes were not noted"


class NotedTable(NamedTuple):
    """The sink's last note of a table. `columns`: (name, type) by column number. `watch`: as in `TableInfo`.

    `notes_oid`: the oid of the table that contained the note when the note was written.
    """

    oid: int
    notes_oid: int
    watch: str
    columns: Mapping[int, tuple[str, str]]


class ForeignChanges(NamedTuple):
    """Changes of a table by others. `renamed`: columns (name, new name), which a statement undoes. `changes`: those
    that only a rebuild undoes."""

    renamed: list[tuple[str, str]]
    changes: list[str]


def compare(table: GoldenTable, noted: NotedTable | None, now: TableInfo | None, notes_oid: int) -> ForeignChanges:
    """The changes by others since the sink noted the table. None are found without a note (`noted`), or if the whole
    schema was restored from a dump."""
    if noted is None or now is None or noted.notes_oid != notes_oid:
        return ForeignChanges([], [])
    if noted.oid != now.oid:
        return ForeignChanges([], ["dropped and re-created, or restored from a dump"])
    wanted = {column.name: column.sql_type for column in table.columns}
    renamed, changes = [], []
    for number, (name, sql_type) in noted.columns.items():
        if name not in wanted:
            continue  # the field left the contract: a user may rename or drop its column
        name_now, type_now = now.columns.get(number, (None, None))
        if name_now == name:
            if type_now != sql_type == wanted[name]:
                changes.append(f"ALTER COLUMN {name} TYPE")
        elif name_now is not None and name not in now.types:
            renamed.append((name, name_now))
        else:
            changes.append(f"column {name} dropped or re-created")
    if now.kin:
        changes.append(
            f"INHERIT with {', '.join(now.kin)}, whose rows and writes are not watched; end it by NO INHERIT"
        )
    if noted.watch == WATCH_ALWAYS != now.watch:
        changes.append(_SWITCHED_OFF)
    return ForeignChanges(renamed, changes)


def refuse_renamed(table: GoldenTable, foreign: ForeignChanges) -> None:
    """Raises EnvironmentFault if a user renamed a column. Its text contains the SQL statement that restores the name.

    The sink must not add a column with the old name instead: the column would be empty in all existing rows.
    """
    if foreign.renamed:
        name, name_now = foreign.renamed[0]
        raise EnvironmentFault(
            table.place,
            f"its column {name} was renamed to {name_now}; a new column {name} would be null in every existing row",
            f'run: ALTER TABLE {table.quoted} RENAME COLUMN "{name_now}" TO "{name}"; the sink '
            "resumes by itself. For another name use a view",
        )


class Watch:
    """The watch in one schema, over one connection. The caller opens the transaction."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._writes = sql.Identifier(schema, WRITES)
        self._notes = sql.Identifier(schema, NOTES)

    def noted(self, state: SchemaState) -> dict[str, NotedTable]:
        """The sink's notes of golden tables, by entity."""
        if NOTES not in state.tables:
            return {}
        return {
            entity: NotedTable(oid, notes_oid, watch, {int(number): tuple(one) for number, one in columns.items()})
            for entity, oid, notes_oid, watch, columns in self._connection.execute(
                statement("read_notes", notes=self._notes)
            )
        }

    def install(self, state: SchemaState) -> str | None:
        """Create the watch's own tables and function. Returns Postgres's message if the sink's user lacks the
        privilege."""
        if WRITES in state.tables and NOTES in state.tables:
            return None
        return self._try([statement("watch", schema=sql.Identifier(self._schema))])

    def install_on(self, tables: Iterable[GoldenTable]) -> str | None:
        """Create the triggers of `tables`. Returns Postgres's message if the sink's user lacks the privilege."""
        todo = [
            statement(
                "watch_table",
                table=table.identifier,
                schema=sql.Identifier(self._schema),
                entity=sql.Literal(table.name),
            )
            for table in tables
        ]
        return self._try([statement("watch", schema=sql.Identifier(self._schema)), *todo]) if todo else None

    def _try(self, todo: Iterable[sql.Composed]) -> str | None:
        try:
            with self._connection.transaction():
                for one in todo:
                    self._connection.execute(one)
        except psycopg.errors.InsufficientPrivilege as error:
            return error.diag.message_primary or "insufficient privilege"
        return None

    def note_changes(self, table: GoldenTable, changes: Iterable[str]) -> None:
        """Store changes of a table by others; the notes stay until a rebuild."""
        note = statement("note_change", writes=self._writes, entity=sql.Literal(table.name))
        for kind in changes:
            self._connection.execute(note, {"kind": kind})

    def note(self, table: GoldenTable, now: TableInfo, notes_oid: int) -> None:
        """Store the current state of a table as the sink's note."""
        columns = Jsonb({str(number): list(column) for number, column in now.columns.items()})
        note = statement("note_table", notes=self._notes, entity=sql.Literal(table.name))
        self._connection.execute(note, {"made": now.oid, "beside": notes_oid, "watch": now.watch, "columns": columns})

    def delete_notes(self, table: GoldenTable) -> None:
        """Delete the notes of writes by others: a rebuild repairs them all."""
        self._connection.execute(statement("delete_entity", own=self._writes), {"entity": table.name})

    def foreign_writes(self) -> dict[str, str]:
        """The writes by others, by entity, as one line of text for each entity."""
        found = self._connection.execute(statement("read_writes", writes=self._writes)).fetchall()
        if any(count > 1 for *_, count in found):
            self._connection.execute(statement("reduce_writes", writes=self._writes))
        lines: dict[str, list[str]] = {}
        for entity, kind, db_user, at, _ in found:
            who = f" by user {db_user}" if db_user else ""
            lines.setdefault(entity, []).append(f"{kind}{who} ({'first ' if who else 'noticed '}{at} UTC)")
        return {entity: _joined(several) for entity, several in lines.items()}


def _joined(several: list[str]) -> str:
    more = f"; and {len(several) - _NAMED_MAX} more" if len(several) > _NAMED_MAX else ""
    return "; ".join(several[:_NAMED_MAX]) + more


def foreign_write_fault(table: GoldenTable, writes: str) -> EnvironmentFault:
    """The fault of a table that others changed. `writes`: their changes as one line of text."""
    return EnvironmentFault(
        table.place,
        f"was changed by others than the sink, so that it may differ from its topic: {writes}",
        f"stop the sink, run `sluice sink rebuild {table.name}` and start it again: it makes the table equal, and rows "
        "stay readable meanwhile",
    )
