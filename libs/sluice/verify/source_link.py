"""Checks the link before raw: compares every followed table, at a snapshot of its own, with its raw records.

The check has two halves, because the changes that a snapshot shows reach raw later. `read` reads the tables before the
other links are checked. `compare` waits until the slots' watermarks have passed the snapshots, and then reads the raw
topics.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from sluice.cdc.followed_source import FollowedSource, SourceState, followed_source, read_state
from sluice.cdc.watermarks import SourceWatermarks, TableWatermark
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.kafka.record import read_records
from sluice.lag.sources import read_watermarks
from sluice.pipeline import SourceStream
from sluice.position import PART_MAX, Position
from sluice.verify import sources
from sluice.verify.context import VerifyContext
from sluice.verify.raw_states import HIGHEST, NO_STATE, Doubled, EntryKind, NewestState, RawLog, SourceSnapshot
from sluice.verify.report import NotChecked, place
from sluice.verify.row_codes import Columns, unpacked
from sluice.verify.spill import Spill

CHECK_EVERY_S = 0.25
START_INGRESS = "start ingress-cdc; its log and /readyz show what it waits for"
Progress = Callable[[str], None]

# Errors of a source, of its settings or of its values: the report names them, and the verification goes on.
_UNREADABLE = (SluiceError, psycopg.Error, ValueError)


@dataclass
class SnapshotTable:
    """A table at a snapshot: the codes of its `rows` by key, and their number. `since_lsn`: from the table's watermark
    at the time of the snapshot; it changes if ingress-cdc reads the table again."""

    source: FollowedSource
    table: str
    since_lsn: int
    snapshot: SourceSnapshot
    rows: Spill
    columns: Columns = field(default_factory=Columns)
    count: int = 0

    @property
    def what(self) -> str:
        return f"{self.source.where}, table {self.table}"


class SourceLink:
    """The check of all CDC sources of a pipeline. `leave_out`: the tables are not read, and the report says so."""

    def __init__(self, context: VerifyContext, opened: ExitStack, progress: Progress, *, leave_out: bool) -> None:
        self._context = context
        self._report = context.report
        self._progress = progress
        self._leave_out = leave_out
        self._folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="sluice-verify-")))
        self._sources: list[FollowedSource] = []
        self._tables: dict[tuple[str, str], SnapshotTable] = {}

    # ── the sources ───────────────────────────────────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Read every table that is followed; report why each other table is not."""
        for name, declared in self._context.pipeline.cdc_sources().items():
            try:
                source = followed_source(self._context.pipeline, name)
                _, marks, why = self._observed(source)
            except _UNREADABLE as error:
                access = "give this command the access that ingress-cdc has"
                self._unable(f"source {name}", _reason(error), _next_step(error, access))
                continue
            if marks.slot is None or why:
                self._unable(source.where, why, START_INGRESS)
                continue
            self._sources.append(source)
            for table in declared.tables:
                self._read_table(source, marks.slot.epoch, table, marks.tables.get(table))

    def _read_table(self, source: FollowedSource, epoch: int, table: str, mark: TableWatermark | None) -> None:
        what = f"{source.where}, table {table}"
        why = sources.why_not_read(mark)
        if mark is None or why:
            self._unable(what, why, mark.next_step if mark and mark.next_step else sources.repair_step(source, table))
            return
        if mark.why:
            self._unable(what, f"it has an active fault: {mark.why}", mark.next_step)
        if self._leave_out:
            self._report.not_checked.append(NotChecked(what, "left out by --no-sources", "", "left out"))
            return
        self._progress(f"reading {what}")
        rows = Spill(self._folder, f"{source.source}.{len(self._tables)}.source")
        try:
            with sources.read_table(source, table, epoch) as reader:
                found = SnapshotTable(source, table, mark.since_lsn, reader.snapshot, rows)
                for key, row in reader.rows:
                    rows.add(key, found.columns.codes(row).tobytes())
                    found.count += 1
            self._tables[source.source, table] = found
        except _UNREADABLE as error:
            self._unable(what, _reason(error), _next_step(error, sources.repair_step(source, table)))

    def _observed(self, source: FollowedSource) -> tuple[SourceState, SourceWatermarks, str]:
        """The present state of a source, its watermarks, and the reason why it is not followed (empty if it is).

        The watermarks are read after the slot, because a slot is never ahead of its watermark.
        """
        state = read_state(source)
        watermarks = read_watermarks(self._context.reader, self._context.pipeline.names)
        marks = sources.marks_of(watermarks, source.source)
        return state, marks, sources.why_not_followed(source, marks.slot, state)

    # ── raw ───────────────────────────────────────────────────────────────────────────────────────────────────

    def compare(self, give_up_at: float) -> None:
        """Read every raw topic. Report repeated positions, and differences from the tables that were read.

        `give_up_at` (monotonic seconds): until then the method waits for raw to contain what the snapshots show.
        """
        for source in self._sources:
            self._wait_for(source, give_up_at)
        for number, stream in enumerate(self._context.pipeline.streams()):
            self._read_raw(number, stream)
        watermarks = read_watermarks(self._context.reader, self._context.pipeline.names)
        self._report.not_checked += sources.polled_streams(self._context.pipeline, watermarks)

    def _read_raw(self, number: int, stream: SourceStream) -> None:
        topic = self._context.pipeline.names.raw(stream.source, stream.stream)
        self._progress(f"comparing {topic}")
        table = self._tables.get((stream.source, stream.stream))
        log = RawLog(topic, stream.kind == "cdc", Spill(self._folder, f"{number}.raw"))
        if table is not None:
            log.columns, log.snapshot = table.columns, table.snapshot
        reader = self._context.reader
        for record in read_records(reader, reader.spans(self._context.partitions_of((topic,)))):
            log.add(record)
        if table is None:
            for _ in log.buckets(self._doubled):
                pass
            return
        log.reach = self._reach(table)
        for bucket, states in enumerate(log.buckets(self._doubled)):
            rows = {key.decode(): row for key, row in table.rows.take(bucket)}
            for key in rows | states:
                self._compare(table, log, key, rows.get(key), states.get(key, NO_STATE))
        self._report.checked["source tables"] += 1
        self._report.checked["source rows"] += table.count

    def _reach(self, table: SnapshotTable) -> Position:
        """The end of the source's log after raw was read; the highest position if the source does not answer."""
        try:
            state, marks, _ = self._observed(table.source)
        except _UNREADABLE:
            return HIGHEST
        return HIGHEST if marks.slot is None else Position(marks.slot.epoch, state.wal_end, PART_MAX)

    def _wait_for(self, source: FollowedSource, give_up_at: float) -> None:
        """Wait until raw contains what the snapshots of a source show. Tables that raw lacks then are not compared."""
        wanted = {at: table for at, table in self._tables.items() if at[0] == source.source}
        self._progress(f"waiting until raw has what {source.where} showed")
        while True:
            behind, unread = self._behind(source, list(wanted.values()))
            if not (behind or unread) or time.monotonic() >= give_up_at:
                break
            time.sleep(CHECK_EVERY_S)
        if unread:
            self._unable(source.where, unread, START_INGRESS)
        for at, table in wanted.items():
            if why := behind.get(table.table):
                self._unable(table.what, why, "`sluice lag` shows how far ingress is; run `sluice verify` again")
                del self._tables[at]

    def _behind(self, source: FollowedSource, tables: list[SnapshotTable]) -> tuple[dict[str, str], str]:
        """By table, the reason why it cannot be compared yet; and the reason why the source is not followed now, empty
        if it is followed."""
        names = [one.table for one in tables]
        try:
            state, marks, why = self._observed(source)
        except _UNREADABLE as error:
            return dict.fromkeys(names, "its source does not answer any more"), _reason(error)
        if why:
            return dict.fromkeys(names, "its source is not followed any more"), why
        unread = f"no process reads slot {source.slot}" if state.slot and state.slot.active_pid is None else ""
        return {one.table: reason for one in tables if (reason := _why_behind(marks, one))}, unread

    def _compare(self, table: SnapshotTable, log: RawLog, key: str, row: bytes | None, state: NewestState) -> None:
        """Compare the state of a key in raw with the table. `row`: the codes of its row, None if the table has none."""
        if state.beyond is not None:
            # The mapper would treat a record with such a position as newer than every later record of its key.
            where = place(log.topic, state.beyond.partition, state.beyond.offset)
            what = f"has position {state.beyond.position}, which its source has not reached"
            self._found(table, False, where, key, what)
        if state.entry is None or not state.is_there:
            if row is not None:
                self._found(table, state.moves, table.what, key, "has a row that is missing in raw")
            return
        where = place(log.topic, state.entry.partition, state.entry.offset)
        if row is None:
            self._found(table, state.moves, where, key, "is in raw, but its table has no such row")
        elif state.entry.kind is EntryKind.OPAQUE:
            # The values are unknown: ingress parked the change that this record replaces, or the mapper parks the
            # record.
            self._report.checked["unreadable raw records"] += 1
        elif other := sorted(table.columns.differing(unpacked(row), state.entry.codes)):
            self._found(table, state.moves, where, key, f"has another {', '.join(other)} in raw than in its table")

    def _found(self, table: SnapshotTable, moves: bool, where: str, key: str, what: str) -> None:
        """Report a difference, unless the key has records that the snapshot does not show (`moves`)."""
        if moves:
            self._report.checked["moving"] += 1
        else:
            self._report.found("source-raw", where, key, f"{what}; {sources.repair_step(table.source, table.table)}")

    def _doubled(self, one: Doubled) -> None:
        where = one.second.place
        if one.alike:
            self._report.found_doubled(where, one.key, f"repeats {one.first.place}")
        else:
            self._report.found("I2", where, one.key, f"has the position of {one.first.place}, but other content")

    def _unable(self, what: str, because: str, next_step: str) -> None:
        self._report.not_checked.append(NotChecked(what, because, next_step))


def _why_behind(marks: SourceWatermarks, table: SnapshotTable) -> str:
    slot, mark = marks.slot, marks.tables.get(table.table)
    if why := sources.why_not_read(mark):
        return why
    if slot is None or mark is None or (slot.epoch, mark.since_lsn) != (table.snapshot.epoch, table.since_lsn):
        return "it was read again meanwhile"
    left = table.snapshot.upper_lsn - slot.lsn
    return f"{left:,} bytes of WAL are not in raw yet" if left > 0 else ""


def _reason(error: Exception) -> str:
    """The text of a SluiceError. Of another error only the code, because its text may quote a row."""
    if isinstance(error, EnvironmentFault):
        return f"{error.where}: {error.why}"
    if isinstance(error, SluiceError):
        return str(error)
    if isinstance(error, psycopg.Error):
        return f"Postgres answers {error.sqlstate or type(error).__name__}"
    return "a value of it cannot be written as JSON"


def _next_step(error: Exception, otherwise: str) -> str:
    if isinstance(error, Transient):
        return "run `sluice verify` again"
    return error.next_step if isinstance(error, EnvironmentFault) else otherwise
