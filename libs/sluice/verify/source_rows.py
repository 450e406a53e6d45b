"""A followed table read at one snapshot of its source, spelled as ingress-cdc spells it into raw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from sluice.errors import EnvironmentFault
from sluice.postgres.debezium import Moment, Source, TableEvents
from sluice.postgres.pgoutput import Relation
from sluice.postgres.source_connection import Connection, connect
from sluice.postgres.source_faults import source_errors
from sluice.postgres.source_tables import Published, SourceTable, describe_tables, load_types, published, relation_of
from sluice.verify.raw_states import Shown

READ_TIMEOUT_S = 3_600.0
_MOMENT = Moment(0, None, None, snapshot=True)
# What could make this session see other rows than ingress-cdc, or keep others waiting.
_SESSION = (
    "SET row_security = off",  # a policy then refuses instead of leaving rows out
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = 0",
)


class SourceRow(NamedTuple):
    """A row: its key as raw spells it, and its columns."""

    key: str
    row: dict[str, Any]


class TableReader(NamedTuple):
    """A table under an open snapshot; `rows` may be read once, while the snapshot is open."""

    shown: Shown
    rows: Iterator[SourceRow]


@contextmanager
def read_table(dsn: str, where: str, name: str, publication: str, epoch: int) -> Iterator[TableReader]:
    """Open a snapshot of table `name` as the publication lets it through.

    Raises Transient, EnvironmentFault, and psycopg.Error for a code that nobody knows.
    """
    at = f"{where}, table {name}"
    with connect(dsn, at, statement_timeout_s=READ_TIMEOUT_S) as connection:
        (table,) = describe_tables(connection, [name], where)
        through = _published(connection, publication, name, where)
        events = _events(connection, table, through, where)
        with source_errors(at):
            for setting in _SESSION:
                connection.execute(setting.encode())
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Before the snapshot is taken: a TRUNCATE behind it would be seen at once, whatever the snapshot shows.
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(_from(table)))
            shown = _shown(connection, epoch)
            yield TableReader(shown, _rows(connection, table, through, events))
            connection.execute("COMMIT")


def _published(connection: Connection, publication: str, name: str, where: str) -> Published:
    found = published(connection, publication, where).get(name)
    if found is None:
        raise EnvironmentFault(
            f"{where}, table {name}",
            f"publication {publication} does not hold it: its changes are not sent",
            f"add it there, then `sluice cdc resnapshot {where.removeprefix('source ')}`",
        )
    return found


def _shown(connection: Connection, epoch: int) -> Shown:
    # One statement: the first one takes the snapshot, and the log's end is asked behind it.
    query = (
        "SELECT pg_catalog.pg_current_snapshot()::text, "
        "(pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    [(snapshot, lsn)] = connection.execute(query.encode()).fetchall()
    _, xmax, in_progress = str(snapshot).split(":")
    return Shown(epoch, int(str(lsn)), int(xmax), frozenset(int(xid) for xid in in_progress.split(",") if xid))


def _rows(connection: Connection, table: SourceTable, through: Published, events: TableEvents) -> Iterator[SourceRow]:
    columns = [c.name for c in events.relation.columns]
    query = sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        _from(table),
        # The filter is SQL of the source's own catalog, as it prints it.
        sql.SQL(f"WHERE {through.row_filter}" if through.row_filter else ""),
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for values in copy.rows():
            texts = [None if value is None else value.encode() for value in values]
            made = events.read(texts, _MOMENT, 0)
            yield SourceRow(made.key.decode(), orjson.loads(made.value or b"")["after"])


def _from(table: SourceTable) -> sql.Composed:
    return sql.SQL("{}{}").format(sql.SQL("" if table.partitioned else "ONLY "), table.identifier)


def _events(connection: Connection, table: SourceTable, through: Published, where: str) -> TableEvents:
    relation: Relation = relation_of(connection, table, through.columns, where)
    return TableEvents(Source("", "", ""), relation, table.primary_key, load_types(connection, where))
