"""The link in front of raw: every followed table at a snapshot of its own, held against its raw records.

In two halves, since raw needs a while to hear of what a snapshot shows: `read` takes the tables, before everything
else; `compare` waits until the slots' watermarks have passed the snapshots, and folds the raw topics.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from sluice.cdc.watermarks import SourceWatermarks, TableWatermark
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice.pipeline import SourceStream
from sluice.position import PART_MAX, Position
from sluice.verify import source_state
from sluice.verify.context import VerifyContext
from sluice.verify.raw_states import HIGHEST, NOWHERE, Doubled, EntryKind, NewestState, RawLog, SourceSnapshot
from sluice.verify.reading import records, spans_to
from sluice.verify.report import NotLookedAt, place
from sluice.verify.row_codes import Columns, unpacked
from sluice.verify.source_rows import read_table
from sluice.verify.source_state import FollowedSource
from sluice.verify.spill import Spill

LOOK_EVERY_S = 0.25
Progress = Callable[[str], None]

# What a source, its settings or its values may come to: said, and never the end of a verification.
_UNREADABLE = (SluiceError, psycopg.Error, ValueError)


@dataclass
class TakenTable:
    """A table as a snapshot showed it. `since_lsn`: of its watermark then; it changes when the table is read again."""

    slot: FollowedSource
    table: str
    since_lsn: int
    shown: SourceSnapshot
    columns: Columns
    rows: Spill
    count: int = 0

    @property
    def what(self) -> str:
        return f"{self.slot.where}, table {self.table}"


class SourceLink:
    """`leave_out`: tables are not read, and that is said."""

    def __init__(self, scope: VerifyContext, opened: ExitStack, progress: Progress, *, leave_out: bool) -> None:
        self._scope = scope
        self._progress = progress
        self._leave_out = leave_out
        self._folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="sluice-verify-")))
        self._slots: list[FollowedSource] = []
        self._taken: dict[tuple[str, str], TakenTable] = {}

    # ── the sources ───────────────────────────────────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Take every table that is followed; say of every other why it is not."""
        for name, source in self._scope.pipeline.cdc_sources().items():
            try:
                slot = FollowedSource.of(self._scope.pipeline, name, source)
                observed = source_state.observe(slot)
                marks = self._marks(slot)
                why = source_state.why_not_followed(slot, marks.slot, observed)
            except _UNREADABLE as error:
                self._not(
                    f"source {name}", _told(error), _next(error, "give this command the access that ingress-cdc has")
                )
                continue
            if marks.slot is None or why:
                self._not(slot.where, why, "start ingress-cdc; its log and /readyz say what it waits for")
                continue
            self._slots.append(slot)
            for table in source.tables:
                self._take(slot, marks.slot.epoch, table, marks.tables.get(table))

    def _take(self, slot: FollowedSource, epoch: int, table: str, mark: TableWatermark | None) -> None:
        what = f"{slot.where}, table {table}"
        why = source_state.why_not_read(mark)
        if mark is None or why:
            self._not(what, why, mark.next_step if mark and mark.next_step else slot.repair(table))
            return
        if mark.why:
            self._not(what, f"a fault of it stands: {mark.why}", mark.next_step)
        if self._leave_out:
            self._scope.report.not_looked_at.append(NotLookedAt(what, "left out by --no-sources", "", "left out"))
        else:
            self._progress(f"reading {what}")
            try:
                self._taken[slot.source, table] = self._rows_of(slot, epoch, table, mark)
            except _UNREADABLE as error:
                self._not(what, _told(error), _next(error, slot.repair(table)))

    def _rows_of(self, slot: FollowedSource, epoch: int, table: str, mark: TableWatermark) -> TakenTable:
        columns, spill = Columns(), Spill(self._folder, f"{slot.source}.{len(self._taken)}.source")
        with read_table(slot.dsn, slot.where, table, slot.publication, epoch) as reader:
            taken = TakenTable(slot, table, mark.since_lsn, reader.shown, columns, spill)
            for one in reader.rows:
                spill.add(one.key.encode(), columns.codes(one.row).tobytes())
                taken.count += 1
        return taken

    # ── raw ───────────────────────────────────────────────────────────────────────────────────────────────────

    def compare(self, give_up_at: float) -> None:
        """Fold every raw topic: what stands twice, and for the tables taken, what differs from them."""
        for slot in self._slots:
            self._await(slot, give_up_at)
        for number, stream in enumerate(self._scope.pipeline.streams()):
            self._fold(number, stream)
        watermarks = source_state.read_watermarks(self._scope.reader, self._scope.pipeline.names)
        self._scope.report.not_looked_at += source_state.polled_streams(self._scope.pipeline, watermarks)

    def _fold(self, number: int, stream: SourceStream) -> None:
        report, reader, pipeline = self._scope.report, self._scope.reader, self._scope.pipeline
        topic = pipeline.names.raw(stream.source, stream.stream)
        self._progress(f"comparing {topic}")
        taken = self._taken.get((stream.source, stream.stream))
        spill = Spill(self._folder, f"{number}.raw")
        log = RawLog(topic, stream.kind == "cdc", spill)
        if taken is not None:
            log.columns, log.shown = taken.columns, taken.shown
        ends = reader.ends([(topic, partition) for partition in range(pipeline.partitions)])
        for record in records(reader, spans_to(reader, ends)):
            log.add(record)
        if taken is not None:
            log.reach = self._reach(taken)
        for bucket, states in enumerate(log.buckets(self._doubled)):
            if taken is not None:
                self._compare(taken, log, dict(taken.rows.take(bucket)), states)
        if taken is not None:
            report.checked["source tables"] += 1
            report.checked["source rows"] += taken.count

    def _reach(self, taken: TakenTable) -> Position:
        """How far the source's log goes now, behind everything that was read. A source that is away tells nothing."""
        try:
            observed = source_state.observe(taken.slot)
            watermark = self._marks(taken.slot).slot
        except _UNREADABLE:
            return HIGHEST
        return HIGHEST if watermark is None else Position(watermark.epoch, observed.wal_end, PART_MAX)

    def _await(self, slot: FollowedSource, give_up_at: float) -> None:
        """Until raw holds what the snapshots of a source show. Tables that it does not reach are not compared."""
        wanted = {at: taken for at, taken in self._taken.items() if at[0] == slot.source}
        self._progress(f"waiting until raw holds what {slot.where} showed")
        while True:
            behind, unread = self._behind(slot, list(wanted.values()))
            if not (behind or unread) or time.monotonic() >= give_up_at:
                break
            time.sleep(LOOK_EVERY_S)
        if unread:
            self._not(slot.where, unread, "start ingress-cdc; its log and /readyz say what it waits for")
        for at, taken in wanted.items():
            if why := behind.get(taken.table):
                self._not(taken.what, why, "`sluice lag` shows how far ingress is; run `sluice verify` again")
                del self._taken[at]

    def _behind(self, slot: FollowedSource, taken: list[TakenTable]) -> tuple[dict[str, str], str]:
        """By table, why it cannot be compared yet; and why the source is not followed now."""
        try:
            observed = source_state.observe(slot)
            marks = self._marks(slot)
        except _UNREADABLE as error:
            return {one.table: "its source cannot be asked any more" for one in taken}, _told(error)
        why = source_state.why_not_followed(slot, marks.slot, observed)
        if marks.slot is None or why:
            return {one.table: "its source is not followed any more" for one in taken}, why
        slot_state = observed.slot
        unread = f"nobody reads slot {slot.slot}" if slot_state and slot_state.active_pid is None else ""
        return {one.table: said for one in taken if (said := _why_behind(marks, one))}, unread

    def _marks(self, slot: FollowedSource) -> SourceWatermarks:
        """Asked after the slot, which is never ahead of them."""
        watermarks = source_state.read_watermarks(self._scope.reader, self._scope.pipeline.names)
        return source_state.marks_of(watermarks, slot.source)

    def _compare(
        self, taken: TakenTable, log: RawLog, rows: dict[bytes, bytes], states: dict[str, NewestState]
    ) -> None:
        """One bucket of keys."""
        for key_bytes, codes in rows.items():
            key = key_bytes.decode()
            state = states.pop(key, NOWHERE)
            self._beyond(taken, log, key, state)
            if state.entry is None or not state.is_there:
                self._found(taken, state, taken.what, key, "has a row that is missing in raw")
            elif state.entry.kind is EntryKind.OPAQUE:
                # It only stands for a change that ingress parked, or the mapper parks it.
                self._scope.report.checked["unreadable raw records"] += 1
            elif other := sorted(taken.columns.differing(unpacked(codes), state.entry.codes)):
                where = place(log.topic, state.entry.partition, state.entry.offset)
                self._found(taken, state, where, key, f"has another {', '.join(other)} in raw than in its table")
        for key, state in states.items():
            self._beyond(taken, log, key, state)
            if state.entry is not None and state.is_there:
                where = place(log.topic, state.entry.partition, state.entry.offset)
                self._found(taken, state, where, key, "stands in raw, and its table has no such row")

    def _beyond(self, taken: TakenTable, log: RawLog, key: str, state: NewestState) -> None:
        """The mapper takes such a record for newer than all that will come."""
        if state.beyond is not None:
            where = place(log.topic, state.beyond.partition, state.beyond.offset)
            what = f"has position {state.beyond.position}, which its source has not reached"
            self._scope.report.found("source-raw", where, key, f"{what}; {taken.slot.repair(taken.table)}")

    def _found(self, taken: TakenTable, state: NewestState, where: str, key: str, what: str) -> None:
        if state.moves:
            self._scope.report.checked["moving"] += 1
        else:
            self._scope.report.found("source-raw", where, key, f"{what}; {taken.slot.repair(taken.table)}")

    def _doubled(self, one: Doubled) -> None:
        where = one.second.place
        if one.alike:
            self._scope.report.found_doubled(where, one.key, f"repeats {one.first.place}")
        else:
            what = f"has the position of {one.first.place}, and says something else"
            self._scope.report.found("I2", where, one.key, what)

    def _not(self, what: str, because: str, next_step: str) -> None:
        self._scope.report.not_looked_at.append(NotLookedAt(what, because, next_step))


def _why_behind(marks: SourceWatermarks, taken: TakenTable) -> str:
    slot, mark = marks.slot, marks.tables.get(taken.table)
    if why := source_state.why_not_read(mark):
        return why
    if slot is None or mark is None or (slot.epoch, mark.since_lsn) != (taken.shown.epoch, taken.since_lsn):
        return "it was read again meanwhile"
    left = taken.shown.upper_lsn - slot.lsn
    return f"{left:,} bytes of WAL are not in raw yet" if left > 0 else ""


def _told(error: Exception) -> str:
    """Our own errors say what is wrong; of others only the code is told, since their texts may quote a row."""
    if isinstance(error, EnvironmentFault):
        return f"{error.where}: {error.why}"
    if isinstance(error, SluiceError):
        return str(error)
    if isinstance(error, psycopg.Error):
        return f"Postgres answers {error.sqlstate or type(error).__name__}"
    return "a value of it cannot be written as JSON"


def _next(error: Exception, otherwise: str) -> str:
    if isinstance(error, Transient):
        return "run `sluice verify` again"
    return error.next_step if isinstance(error, EnvironmentFault) else otherwise
