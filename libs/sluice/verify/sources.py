"""The sources of a pipeline: whether each is followed, and the rows of a followed table at one snapshot.

Watermarks and slots show whether a source is followed. Only then does raw contain all of its rows.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
from psycopg import sql

from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.followed_source import FollowedSource, SourceState, why_not_resumable
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableFacts, load_types, table_facts
from sluice.cdc.watermarks import BLOCKED, FOLLOWED, SlotWatermark, SourceWatermarks, TableWatermark, source_watermarks
from sluice.errors import EnvironmentFault
from sluice.pipeline import Pipeline
from sluice.times import age_text
from sluice.verify.raw_states import SourceSnapshot
from sluice.verify.report import NotChecked

READ_TIMEOUT_S = 3_600.0
_MOMENT = TransactionInfo(0, None, None, snapshot="true")

Watermarks = Mapping[str, Mapping[str, Any]]
# A stream counts as not polled if its last answer is older than ten times its freshness, and at least a minute. A
# running poller asks twice within the freshness; while stages lag, once in two times the freshness.
_LATE_AFTER_FRESHNESS = 10
_LATE_AFTER_S = 60.0


class TableReader(NamedTuple):
    """A table at an open snapshot. `rows`: each row as (key in raw, columns). The rows can be read once, and only while
    the snapshot is open."""

    snapshot: SourceSnapshot
    rows: Iterator[tuple[bytes, dict[str, Any]]]


def repair_step(source: FollowedSource, table: str) -> str:
    """The next step by which an operator repairs the raw records of `table`, as a clause."""
    return f"`sluice cdc resnapshot {source.source} --table {shlex.quote(table)}` reads it again"


@contextmanager
def read_table(source: FollowedSource, name: str, epoch: int) -> Iterator[TableReader]:
    """Open a snapshot of the rows and columns of table `name` that the publication sends.

    Raises EnvironmentFault if the database refuses, if it cannot be reached or if the publication does not contain
    the table; Transient if a retry may succeed; psycopg.Error for an SQLSTATE without a policy.
    """
    at = f"{source.where}, table {name}"
    with connect(source.dsn.reveal(), at, statement_timeout_s=READ_TIMEOUT_S) as connection, source_errors(at):
        connection.execute(b"SET lock_timeout = '10s'")
        connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # The table is locked before the snapshot is taken: the snapshot would show a later rewrite of the table.
        table = sql.Identifier(*name.split(".", 1))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table))
        snapshot = _snapshot(connection, epoch)
        facts = table_facts(connection, source.publication, [name], source.where).get(name)
        if facts is None or facts.published is None:
            why = f"publication {source.publication} does not contain it, so its changes are not sent"
            raise EnvironmentFault(at, why, "add it there; then /readyz of ingress-cdc shows what the table needs")
        events = TableEvents(
            EventSource("", "", ""), facts.relation, facts.primary_key, load_types(connection, source.where)
        )
        yield TableReader(snapshot, _rows(connection, facts, events))
        connection.execute(b"COMMIT")


def marks_of(watermarks: Watermarks, source: str) -> SourceWatermarks:
    """Decode the watermarks of one source. Raises EnvironmentFault if this version does not know their form."""
    try:
        return source_watermarks(source, watermarks)
    except (ValueError, TypeError, LookupError):
        why = "its form is not known to this version"
        raise EnvironmentFault(f"watermark of source {source}", why, "use the version that ingress-cdc has") from None


def why_not_followed(source: FollowedSource, watermark: SlotWatermark | None, state: SourceState) -> str:
    """The reason why new changes of the source cannot reach raw, as a clause; empty if they can. Whether a process
    reads the slot is checked later, because a reader that restarts does not read it for a moment."""
    if watermark is None or watermark.lsn == 0:
        return "nothing of it was published yet"
    return why_not_resumable(source, watermark, state)


def why_not_read(mark: TableWatermark | None) -> str:
    """The reason why raw lacks rows of a table, as a clause; empty if it has all. `mark`: the table's watermark."""
    if mark is None:
        return "it was added to the pipeline, and is not followed yet"
    if mark.state == FOLLOWED:
        return ""
    state = "it is blocked" if mark.state == BLOCKED else "it is not read yet"
    return f"{state}: {mark.why}" if mark.why else state


def polled_streams(pipeline: Pipeline, watermarks: Watermarks, now_s: float | None = None) -> Iterator[NotChecked]:
    """Why each polled stream is not compared with its API, which never shows all of its records at one moment."""
    now_s = time.time() if now_s is None else now_s
    for source, about in pipeline.poll_sources().items():
        for stream, settings in about.streams.items():
            late_after_s = max(_LATE_AFTER_S, _LATE_AFTER_FRESHNESS * settings.freshness)
            mark = watermarks.get(f"{source}/{stream}")
            yield _polled(f"source {source}, stream {stream}", mark, now_s, late_after_s)


def _polled(what: str, mark: Mapping[str, Any] | None, now_s: float, late_after_s: float) -> NotChecked:
    start = "start ingress-poller; its log and /readyz show what it waits for"
    if mark is None:
        return NotChecked(what, "nothing of it was published yet", start)
    if not isinstance(mark.get("at"), int | float):
        return NotChecked(what, "no version of Sluice wrote this form of watermark", "see `sluice lag`")
    answered_s, listed_us = now_s - mark["at"] / 1e6, mark.get("enumerated_at")
    if answered_s > late_after_s:
        return NotChecked(what, f"its last answer is {age_text(answered_s)} old: it is not polled", start)
    if listed_us is None:
        return NotChecked(what, "it was never listed as a whole", "wait for ingress-poller to do so, or see its faults")
    listed = age_text(max(0.0, now_s - listed_us / 1e6))
    return NotChecked(what, f"an API is not compared with raw; it was listed as a whole {listed} ago", "", "by design")


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
