"""A followed table read at one snapshot of its source, spelled as ingress-cdc spells it into raw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.publication import load_types
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableFacts, table_facts
from sluice.errors import EnvironmentFault
from sluice.verify.raw_states import SourceSnapshot

READ_TIMEOUT_S = 3_600.0
_MOMENT = TransactionInfo(0, None, None, snapshot=True)


class SourceRow(NamedTuple):
    """A row: its key as raw spells it, and its columns."""

    key: str
    row: dict[str, Any]


class TableReader(NamedTuple):
    """A table under an open snapshot; `rows` may be read once, while the snapshot is open."""

    shown: SourceSnapshot
    rows: Iterator[SourceRow]


@contextmanager
def read_table(dsn: str, where: str, name: str, publication: str, epoch: int) -> Iterator[TableReader]:
    """Open a snapshot of table `name` as the publication lets it through.

    Raises Transient, EnvironmentFault, and psycopg.Error for a code that nobody knows.
    """
    at = f"{where}, table {name}"
    with connect(dsn, at, statement_timeout_s=READ_TIMEOUT_S) as connection, source_errors(at):
        connection.execute(b"SET lock_timeout = '10s'")
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Before the snapshot is taken: what rewrites a table behind it would be seen at once, whatever it shows.
        table = sql.Identifier(*name.split(".", 1))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))
        shown = _shown(connection, epoch)
        facts = table_facts(connection, publication, [name], where).get(name)
        if facts is None or facts.published is None:
            why = f"publication {publication} does not hold it: its changes are not sent"
            raise EnvironmentFault(at, why, "add it there; /readyz of ingress-cdc says what it needs then")
        events = TableEvents(EventSource("", "", ""), facts.relation, facts.primary_key, load_types(connection, where))
        yield TableReader(shown, _rows(connection, facts, events))
        connection.execute(b"COMMIT")


def _shown(connection: Connection, epoch: int) -> SourceSnapshot:
    # One statement: the first one takes the snapshot, and the log's end is asked behind it.
    query = (
        "SELECT pg_catalog.pg_current_snapshot()::text, "
        "(pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    [(snapshot, lsn)] = connection.execute(query.encode()).fetchall()
    _, xmax, in_progress = str(snapshot).split(":")
    return SourceSnapshot(epoch, int(str(lsn)), int(xmax), frozenset(int(xid) for xid in in_progress.split(",") if xid))


def _rows(connection: Connection, facts: TableFacts, events: TableEvents) -> Iterator[SourceRow]:
    query = sql.SQL("COPY (SELECT {} FROM {}{} {}) TO STDOUT").format(
        sql.SQL(", ").join(sql.Identifier(c.name) for c in facts.relation.columns),
        sql.SQL("" if facts.partitioned else "ONLY "),
        facts.identifier,
        # The filter is SQL of the source's own catalog, as it prints it.
        sql.SQL(f"WHERE {facts.row_filter}" if facts.row_filter else ""),
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for values in copy.rows():
            texts = [None if value is None else value.encode() for value in values]
            made = events.snapshot_row(texts, _MOMENT, 0)
            yield SourceRow(made.key.decode(), orjson.loads(made.value or b"")["after"])
