"""Reads a followed table at one snapshot of its source, with keys and values in the form that ingress-cdc writes to
raw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableFacts, load_types, table_facts
from sluice.errors import EnvironmentFault
from sluice.verify.raw_states import SourceSnapshot

READ_TIMEOUT_S = 3_600.0
_MOMENT = TransactionInfo(0, None, None, snapshot=True)


class TableReader(NamedTuple):
    """A table at an open snapshot. `rows`: each row as (key in raw, columns). The rows can be read once, and only while
    the snapshot is open."""

    snapshot: SourceSnapshot
    rows: Iterator[tuple[bytes, dict[str, Any]]]


@contextmanager
def read_table(dsn: str, where: str, name: str, publication: str, epoch: int) -> Iterator[TableReader]:
    """Open a snapshot of the rows and columns of table `name` that the publication sends.

    Raises EnvironmentFault if the database refuses, if it cannot be reached or if the publication does not contain the
    table; Transient if a retry may succeed; psycopg.Error for an SQLSTATE without a policy.
    """
    at = f"{where}, table {name}"
    with connect(dsn, at, statement_timeout_s=READ_TIMEOUT_S) as connection, source_errors(at):
        connection.execute(b"SET lock_timeout = '10s'")
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # The table is locked before the snapshot is taken: the snapshot would show a later rewrite of the table.
        table = sql.Identifier(*name.split(".", 1))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))
        snapshot = _snapshot(connection, epoch)
        facts = table_facts(connection, publication, [name], where).get(name)
        if facts is None or facts.published is None:
            why = f"publication {publication} does not contain it, so its changes are not sent"
            raise EnvironmentFault(at, why, "add it there; then /readyz of ingress-cdc shows what the table needs")
        events = TableEvents(EventSource("", "", ""), facts.relation, facts.primary_key, load_types(connection, where))
        yield TableReader(snapshot, _rows(connection, facts, events))
        connection.execute(b"COMMIT")


def _snapshot(connection: Connection, epoch: int) -> SourceSnapshot:
    # One statement does both: it takes the snapshot first, and then reads the end of the log.
    query = (
        "SELECT pg_catalog.pg_current_snapshot()::text, "
        "(pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
    )
    [(snapshot, lsn)] = connection.execute(query.encode()).fetchall()
    _, xmax, in_progress = str(snapshot).split(":")
    return SourceSnapshot(epoch, int(str(lsn)), int(xmax), frozenset(int(xid) for xid in in_progress.split(",") if xid))


def _rows(connection: Connection, facts: TableFacts, events: TableEvents) -> Iterator[tuple[bytes, dict[str, Any]]]:
    query = sql.SQL("COPY ({}) TO STDOUT").format(facts.select)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for values in copy.rows():
            texts = [None if value is None else value.encode() for value in values]
            event = events.snapshot_row(texts, _MOMENT, 0)
            yield event.key, orjson.loads(event.value or b"")["after"]
