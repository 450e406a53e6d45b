"""The source's tables: which can be followed, under which key, with which columns, through which publication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg import errors, sql

from sluice.errors import EnvironmentFault
from sluice.postgres.json_text import PgType
from sluice.postgres.pgoutput import Column, Relation
from sluice.postgres.slots import rows
from sluice.postgres.source_connection import Connection
from sluice.postgres.source_faults import source_errors


class SourceTable(NamedTuple):
    """One table that can be followed. `identity`: d default, f full, i an index that holds the primary key."""

    schema: str
    table: str
    oid: int
    partitioned: bool
    identity: str
    primary_key: tuple[str, ...]

    @property
    def name(self) -> str:
        """`schema.table`: the stream's name."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)


class Published(NamedTuple):
    """What a publication lets through of one table; `row_filter` is SQL of the source's own catalog."""

    columns: tuple[str, ...]
    row_filter: str | None


def describe_tables(connection: Connection, names: Sequence[str], where: str) -> list[SourceTable]:
    """The tables of `names` (`schema.table`), in that order. EnvironmentFault names one that cannot be followed."""
    schemas, tables = zip(*(n.split(".", 1) for n in names), strict=True)
    found = {
        f"{r['schema']}.{r['table']}": r
        for r in rows(connection, "tables", where, schemas=list(schemas), tables=list(tables))
    }
    described = []
    for name in names:
        if name not in found:
            raise EnvironmentFault(
                f"{where}, table {name}", "does not exist", "create it, or correct the pipeline file"
            )
        row = found[name]
        _refuse_unfit(where, name, row)
        described.append(
            SourceTable(
                row["schema"], row["table"], row["oid"], row["kind"] == "p", row["identity"], tuple(row["primary_key"])
            )
        )
    return described


def _refuse_unfit(where: str, name: str, row: Mapping[str, object]) -> None:
    key, identity = row["primary_key"], row["identity"]
    at = f"{where}, table {name}"
    if not key:
        # Two rows without a key cannot be told apart, and a compacted topic needs a key.
        raise EnvironmentFault(at, "it has no primary key", f"ALTER TABLE {name} ADD PRIMARY KEY (…), or leave it out")
    if row["persistence"] != "p":
        raise EnvironmentFault(
            at, "it is unlogged or temporary: its changes are not in the log", f"ALTER TABLE {name} SET LOGGED"
        )
    if identity == "n":
        raise EnvironmentFault(at, "its REPLICA IDENTITY is NOTHING", f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT")
    if identity == "i" and not set(key) <= set(row["identity_columns"]):  # type: ignore[call-overload]
        raise EnvironmentFault(
            at,
            "its REPLICA IDENTITY index does not hold the primary key",
            f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT",
        )


def published(connection: Connection, publication: str, where: str) -> dict[str, Published]:
    """What the publication holds, by `schema.table`; empty if there is none."""
    return {
        f"{r['schemaname']}.{r['tablename']}": Published(tuple(r["attnames"]), r["rowfilter"])
        for r in rows(connection, "published", where, publication=publication)
    }


def ensure_publication(connection: Connection, publication: str, tables: Sequence[SourceTable], where: str) -> None:
    """Create the publication, or add the tables it lacks. EnvironmentFault holds the statement to run if we may not.

    Only before a slot is made: a slot sees the publication as it was at each change.
    """
    exists = refuse_partial_publication(connection, publication, tables, where)
    there = published(connection, publication, where)
    missing = [t for t in tables if t.name not in there]
    if not missing:
        return
    statement = _statement(publication, missing, exists=exists)
    _run_as_owner(connection, statement, f"{where}, publication {publication}", missing[0].name)


def _run_as_owner(connection: Connection, statement: sql.Composed, where: str, table: str) -> None:
    try:
        connection.execute(statement)
    except errors.InsufficientPrivilege:
        raise EnvironmentFault(
            where,
            f"lacks table {table}, and this user may not change that",
            f"run as the tables' owner: {statement.as_string(connection)}",
        ) from None
    except errors.Error as error:
        with source_errors(where):
            raise error


def refuse_partial_publication(
    connection: Connection, publication: str, tables: Sequence[SourceTable], where: str
) -> bool:
    """Whether the publication exists; EnvironmentFault if changes would stay out of it or come under other names."""
    found = rows(connection, "publication", where, publication=publication)
    if not found:
        return False
    at = f"{where}, publication {publication}"
    partitioned = [t.name for t in tables if t.partitioned]
    if not found[0]["whole"]:
        setting = "publish = 'insert, update, delete, truncate'"
        why = "it does not publish all of insert, update, delete and truncate"
    elif partitioned and not found[0]["via_root"]:
        setting = "publish_via_partition_root = true"
        why = f"it publishes the partitions of {partitioned[0]}, not the table"
    else:
        return True
    raise EnvironmentFault(at, why, f"ALTER PUBLICATION {publication} SET ({setting})")


def _statement(publication: str, tables: Sequence[SourceTable], *, exists: bool) -> sql.Composed:
    # Without ONLY a table's children by inheritance would be published too, under names nobody asked for.
    parts = [sql.SQL("{}" if t.partitioned else "ONLY {}").format(t.identifier) for t in tables]
    listed = sql.SQL(", ").join(parts)
    name = sql.Identifier(publication)
    if exists:
        return sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, listed)
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(name, listed)


def load_types(connection: Connection, where: str) -> dict[int, PgType]:
    """Every array and domain type of the database, by oid."""
    found = rows(connection, "types", where)
    return {r["oid"]: PgType(r["oid"], r["element"], r["base"], r["base_typmod"]) for r in found}


def relation_of(connection: Connection, table: SourceTable, columns: Sequence[str], where: str) -> Relation:
    """The table's shape as a Relation message would tell it, of the published `columns` alone."""
    shape = tuple(
        Column(r["attname"], r["atttypid"], r["atttypmod"], r["attname"] in table.primary_key)
        for r in rows(connection, "columns", where, oid=table.oid)
        if r["attname"] in columns
    )
    return Relation(table.oid, table.schema, table.table, table.identity, shape)
