"""The publication of a source's followed tables: creates it, adds tables to it and drops tables from it."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import errors, sql

from sluice.cdc.connection import Connection
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import PublicationFacts, TableFacts
from sluice.errors import EnvironmentFault


def ensure_publication(
    connection: Connection, publication: str, exists: bool, missing: Sequence[TableFacts], where: str
) -> None:
    """Create the publication with the `missing` tables, or add them to it if it `exists`.

    Call it before a snapshot: a slot decodes each change with the publication as it was at that change. The `missing`
    tables must be eligible: Postgres refuses updates of a published table without a replica identity. Raises
    EnvironmentFault with the statement to run if this user may not change the publication.
    """
    if not missing:
        return
    statement = _statement(publication, missing, exists=exists)
    at = f"{where}, publication {publication}"
    _run_as_owner(connection, statement, at, f"lacks table {missing[0].name}, and this user may not change that")


def drop_from_publication(connection: Connection, publication: str, table: TableFacts, where: str) -> None:
    """Drop the table from the publication. Raises EnvironmentFault with the statement to run if this user may not."""
    statement = sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(sql.Identifier(publication), table.itself)
    at = f"{where}, publication {publication}"
    why = f"while it contains table {table.name}, its updates fail, and this user may not drop it from there"
    _run_as_owner(connection, statement, at, why)


def publication_statement(publication: str, tables: Sequence[TableFacts], *, exists: bool) -> str:
    """The SQL that creates the publication with `tables`, or adds `tables` to it if it `exists`."""
    return _statement(publication, tables, exists=exists).as_string(None)


def publication_fault(
    publication: str, facts: PublicationFacts, tables: Sequence[TableFacts], where: str
) -> EnvironmentFault | None:
    """The fault of a publication that omits changes, or publishes changes of partitions under their own names. None if
    the publication does neither."""
    partitioned = [t.name for t in tables if t.partitioned]
    if not facts.publishes_all:
        setting = "publish = 'insert, update, delete, truncate'"
        why = "it does not publish all of insert, update, delete and truncate"
    elif partitioned and not facts.via_root:
        setting = "publish_via_partition_root = true"
        why = f"it publishes the partitions of {partitioned[0]}, not the table"
    else:
        return None
    name = sql.Identifier(publication).as_string(None)
    return EnvironmentFault(f"{where}, publication {publication}", why, f"ALTER PUBLICATION {name} SET ({setting})")


def _run_as_owner(connection: Connection, statement: sql.Composed, where: str, why: str) -> None:
    with source_errors(where):
        try:
            connection.execute(statement)
        except errors.InsufficientPrivilege:
            raise EnvironmentFault(where, why, f"run as the tables' owner: {statement.as_string(connection)}") from None
        except errors.ReadOnlySqlTransaction:
            why = "a standby cannot change its publication"
            raise EnvironmentFault(where, why, f"run on the primary: {statement.as_string(connection)}") from None


def _statement(publication: str, tables: Sequence[TableFacts], *, exists: bool) -> sql.Composed:
    # `itself` has ONLY. Without it the publication would also contain the table's children by inheritance, under their
    # own names.
    listed = sql.SQL(", ").join(table.itself for table in tables)
    name = sql.Identifier(publication)
    if exists:
        return sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(name, listed)
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(name, listed)
