"""What stands in a sink's schema, as Postgres's catalogue tells it."""

from collections.abc import Mapping
from typing import NamedTuple

from psycopg import sql

from sluice.errors import EnvironmentFault
from sluice.golden.connection import Connection
from sluice.golden.sql import statement

WATCH_ALWAYS = "A"
# As `pg_trigger.tgtype` has them.
DELETE = 8
UPSERT = 4 | 16


class Relation(NamedTuple):
    """A table: `columns` (name, type) by number; `required`: those that an insert must give a value; `watch`: when its
    watch fires, as `pg_trigger.tgenabled` says it, empty where it has none; `keyed`: entity ids are unique; `kin`:
    the tables that it is a parent or a child of by inheritance."""

    oid: int
    columns: Mapping[int, tuple[str, str]]
    required: frozenset[str]
    watch: str
    keyed: bool
    kin: tuple[str, ...] = ()


class Existing(NamedTuple):
    """What stands in the schema: columns by relation, the hash kept with each view, and the tables."""

    columns: Mapping[str, Mapping[str, str]]
    views: Mapping[str, str]
    tables: Mapping[str, Relation] = {}


def existing(connection: Connection, schema: str) -> Existing:
    """Read the catalogue."""
    columns: dict[str, dict[str, str]] = {}
    numbered: dict[str, dict[int, tuple[str, str]]] = {}
    required: dict[str, set[str]] = {}
    for relation, number, column, sql_type, must in connection.execute(statement("columns"), [schema]):
        columns.setdefault(relation, {})[column] = sql_type
        numbered.setdefault(relation, {})[number] = (column, sql_type)
        required.setdefault(relation, set()).update({column} if must else ())
    tables = {
        name: Relation(oid, numbered.get(name, {}), frozenset(required.get(name, ())), watch, keyed, tuple(kin))
        for name, oid, watch, keyed, kin in connection.execute(statement("relations"), [schema])
    }
    views = connection.execute(statement("view_comments"), [schema]).fetchall()
    return Existing(columns, dict(views), tables)


def dropped_in_between(
    connection: Connection, table: sql.Identifier, where: str, events: int, rows: int
) -> EnvironmentFault:
    """The fault of `rows` that Postgres took and did not write; names what stands between the statement and `table`."""
    name = sql.Literal(table.as_string(connection))
    found = connection.execute(statement("in_between", table=name), {"events": events}).fetchall()
    names = " or ".join(told for (told,) in found) or "something that its catalogue does not tell"
    return EnvironmentFault(
        where,
        f"Postgres took the statement without an error and left out {rows} row{'s' if rows > 1 else ''}: {names} "
        "dropped them in between",
        "let that trigger return NEW (of a delete: OLD), or drop it; nothing is committed meanwhile, and the sink "
        "resumes by itself",
    )
