"""The watch over golden tables: the sink owns them, and whoever else writes to one is told until it is rebuilt.

A trigger on each table notes statements that are not the sink's. What leaves no statement (a table made anew, a column
dropped or renamed, the trigger switched off) shows against what the sink noted when it last looked.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from sluice.errors import EnvironmentFault
from sluice.golden.catalogue import WATCH_ALWAYS, Existing, Relation
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.sql import statement

WRITES, MADE = "_foreign_writes", "_made"
_TOLD_MAX = 5
_SWITCHED_OFF = "its trigger sluice_watch was dropped or switched off, so that nobody knows what was written"


class Made(NamedTuple):
    """A table as the sink left it: `columns` (name, type) by number; `watch` as in `Relation`; `beside`: the oid of the
    table that holds this note."""

    oid: int
    beside: int
    watch: str
    columns: Mapping[int, tuple[str, str]]


class Seen(NamedTuple):
    """What was done to a table: `renamed` columns (was, is) are named back by a statement, `changes` need a rebuild."""

    renamed: list[tuple[str, str]]
    changes: list[str]


def compare(table: GoldenTable, made: Made | None, now: Relation | None, beside: int) -> Seen:
    """What others did to a table since it was noted; nothing where it was not, or the whole schema was restored."""
    if made is None or now is None or made.beside != beside:
        return Seen([], [])
    if made.oid != now.oid:
        return Seen([], ["dropped and made anew, or restored from a dump"])
    names = {name for name, _ in now.columns.values()}
    wanted = {column.name: column.sql_type for column in table.columns}
    renamed, changes = [], []
    for number, (name, sql_type) in made.columns.items():
        if name not in wanted:
            continue  # it left the contract: whoever renames it keeps its values
        is_now, type_now = now.columns.get(number, (None, None))
        if is_now == name:
            if type_now != sql_type == wanted[name]:
                changes.append(f"ALTER COLUMN {name} TYPE")
        elif is_now is not None and name not in names:
            renamed.append((name, is_now))
        else:
            changes.append(f"column {name} dropped or made anew")
    if now.kin:
        changes.append(
            f"INHERIT with {', '.join(now.kin)}, whose rows and writes are not watched; end it by NO INHERIT"
        )
    if made.watch == WATCH_ALWAYS != now.watch:
        changes.append(_SWITCHED_OFF)
    return Seen(renamed, changes)


def refuse_renamed(table: GoldenTable, seen: Seen) -> None:
    """Raises EnvironmentFault with the statement that names it back: the column that was made anew would be empty."""
    if seen.renamed:
        was, is_now = seen.renamed[0]
        raise EnvironmentFault(
            f"table {table.schema}.{table.name}",
            f"its column {was} was renamed to {is_now}; a new {was} would hold null in every row that stands",
            f'run: ALTER TABLE "{table.schema}"."{table.name}" RENAME COLUMN "{is_now}" TO "{was}"; the sink resumes '
            "by itself. For another name use a view",
        )


class Watch:
    """The watch in one schema, over one connection. Called within a transaction."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._writes = sql.Identifier(schema, WRITES)
        self._made = sql.Identifier(schema, MADE)

    def noted(self, there: Existing) -> dict[str, Made]:
        """The tables as they were noted, by entity."""
        if MADE not in there.columns:
            return {}
        asked = statement("read_made", made=self._made)
        return {
            entity: Made(oid, beside, watch, {int(number): (name, kind) for number, (name, kind) in columns.items()})
            for entity, oid, beside, watch, columns in self._connection.execute(asked)
        }

    def install(self, there: Existing) -> str | None:
        """Make the watch's own tables and function; returns Postgres's answer where the sink's user may not."""
        if WRITES in there.columns and MADE in there.columns:
            return None
        return self._try([statement("watch", schema=sql.Identifier(self._schema))])

    def install_on(self, tables: Iterable[GoldenTable]) -> str | None:
        """Make the triggers of `tables`; returns as `install` does."""
        todo = [
            statement(
                "watch_table",
                table=sql.Identifier(table.schema, table.name),
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

    def tell(self, table: GoldenTable, changes: Iterable[str]) -> None:
        """Keep what was seen until a rebuild."""
        told = statement("note_change", writes=self._writes, entity=sql.Literal(table.name))
        for kind in changes:
            self._connection.execute(told, {"kind": kind})

    def note(self, table: GoldenTable, now: Relation, beside: int) -> None:
        """Note a table as it stands."""
        columns = Jsonb({str(number): list(column) for number, column in now.columns.items()})
        noting = statement("note_made", made=self._made, entity=sql.Literal(table.name))
        self._connection.execute(noting, {"made": now.oid, "beside": beside, "watch": now.watch, "columns": columns})

    def forget(self, table: GoldenTable) -> None:
        """A rebuild mends whatever was done until now."""
        self._connection.execute(statement("forget_entity", own=self._writes), {"entity": table.name})

    def told(self) -> dict[str, str]:
        """What others did, by entity, as one line each."""
        lines = self._connection.execute(statement("read_writes", writes=self._writes)).fetchall()
        if any(count > 1 for *_, count in lines):
            self._connection.execute(statement("tidy_writes", writes=self._writes))
        found: dict[str, list[str]] = {}
        for entity, kind, db_user, at, _ in lines:
            who = f" by user {db_user}" if db_user else ""
            found.setdefault(entity, []).append(f"{kind}{who} ({'first ' if who else 'seen '}{at} UTC)")
        return {entity: _told(some) for entity, some in found.items()}


def _told(several: list[str]) -> str:
    more = f"; and {len(several) - _TOLD_MAX} more" if len(several) > _TOLD_MAX else ""
    return "; ".join(several[:_TOLD_MAX]) + more


def changed_by_others(table: GoldenTable, told: str) -> EnvironmentFault:
    """The fault of a table that was changed besides the sink."""
    return EnvironmentFault(
        f"table {table.schema}.{table.name}",
        f"was changed by others than the sink, so that it may differ from its topic: {told}",
        f"stop the sink, run `sluice sink rebuild {table.name}` and start it again: it makes the table equal, and rows "
        "stay readable meanwhile",
    )
