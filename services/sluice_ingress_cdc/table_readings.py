"""Publishes the rows of pending tables between the transactions of the stream. Only the stream's thread uses it.

One table is read at a time, in the order of the pipeline file. A table that cannot be read waits, and the next one is
read. `reader_thread` reads, `windows` decides which rows are published, `tables` keeps how far each table is read.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog

from sluice.cdc.eligibility import eligibility_fault
from sluice.cdc.table_facts import TableFacts
from sluice.cdc.watermarks import PENDING, Heap, TableReading
from sluice.errors import EnvironmentFault, Transient
from sluice.headers import POSITION_HEADER
from sluice.position import Position
from sluice.raw.writing import RawRecord, sweep_markers
from sluice.telemetry.metrics import SNAPSHOT_BLOCKS, SNAPSHOT_ROWS
from sluice_ingress_cdc.assembler import Assembler
from sluice_ingress_cdc.catalog_check import CatalogCheck, RawTopic
from sluice_ingress_cdc.chunks import Part
from sluice_ingress_cdc.reader_thread import (
    ReaderCrashed,
    ReaderThread,
    ReadingFailed,
    ReadRequest,
    TableFound,
    TableWaits,
)
from sluice_ingress_cdc.records import SlotTargets, TableTarget, records_of
from sluice_ingress_cdc.session_context import SNAPSHOT_RETRY_AFTER_MAX_S, SessionContext, SnapshotBackoff
from sluice_ingress_cdc.table_changes import ROW_TOO_LARGE
from sluice_ingress_cdc.tables import FollowedTables

log = structlog.get_logger()


class TableReadings:
    def __init__(
        self,
        context: SessionContext,
        reader: ReaderThread,
        assembler: Assembler,
        targets: SlotTargets,
        topics: Mapping[str, RawTopic],
        tables: FollowedTables,
        *,
        reads_rows: bool = True,
    ) -> None:
        self._context = context
        self._where = context.slot.where
        self._reader = reader
        self._assembler = assembler
        self._targets = targets
        self._topics = topics
        self._tables = tables
        self._reads_rows = reads_rows
        self._facts: Mapping[str, TableFacts] | None = None
        self._request: ReadRequest | None = None
        self._requests = 0
        for name in tables.in_state(PENDING):
            if tables[name].reading is not None:
                assembler.keys.start(name)

    def checked(self, catalogs: CatalogCheck) -> None:
        """Apply a check of the source: which tables can be read now."""
        self._facts = catalogs.facts
        for name in self._tables.in_state(PENDING):
            fault = eligibility_fault(catalogs.facts.get(name), f"{self._where}, table {name}")
            if fault is not None:
                self._tables.cannot_read(name, fault)

    def turn(self) -> None:
        """Take the messages of the reader that take effect now, and request the next table. Call it often, between two
        frames of the stream."""
        if self._request is not None and not self._is_current(self._request):
            log.info("reading ends", table=self._request.table, source=self._context.slot.source)
            self._end()
        if self._assembler.keys.barrier_due and not self._assembler.in_transaction:
            self._begin_again()
        while self._reader.messages and self._apply_next():
            """Each message has its effect, or waits for the stream."""
        self._assembler.after_commit = self.turn if self._reader.messages else None
        if self._request is None:
            self._request_next()

    # ── which table is read ──────────────────────────────────────────────────────────────────────────────────

    def _is_current(self, request: ReadRequest) -> bool:
        """Whether the table is still to be read from where the request began. A changed definition, an operator's
        request or another start ends it."""
        table = self._tables[request.table]
        return table.state == PENDING and (request.reading is None or table.reading is not None)

    def _request_next(self) -> None:
        now = time.monotonic()
        for name in self._tables.in_state(PENDING):
            fault = eligibility_fault((self._facts or {}).get(name), self._where)
            if fault is None and now >= self._backoff(name).retry_at:
                self._ask(name)
                return

    def _ask(self, name: str) -> None:
        self._requests += 1
        self._request = ReadRequest(self._requests, name, self._tables[name].reading)
        self._reader.request(self._request)

    def _begin_again(self) -> None:
        """Read the rest of the table with a new barrier: too many changed keys were streamed meanwhile."""
        self._assembler.keys.passed_barrier()
        if self._request is not None:
            self._ask(self._request.table)

    def _end(self) -> None:
        if self._request is not None and self._tables[self._request.table].reading is None:
            self._assembler.keys.stop(self._request.table)
        self._request = None
        self._reader.request(None)

    def _backoff(self, name: str) -> SnapshotBackoff:
        return self._context.snapshot_backoffs.setdefault(name, SnapshotBackoff())

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────

    def _apply_next(self) -> bool:
        """Apply the oldest message. False if it must wait for the stream."""
        request, content = self._reader.messages[0]
        # 0 if the stream is within a transaction, also one whose first part an earlier process published.
        mark_lsn = 0 if self._assembler.in_transaction else self._assembler.complete_lsn
        if isinstance(content, Part):
            if mark_lsn < content.wal_lsn or self._assembler.bytes >= self._context.settings.batch_bytes_max:
                return False
            self._reader.take()
            self._publish(request.table, content, Position(self._targets.epoch, mark_lsn, 0))
            return True
        if isinstance(content, TableFound):
            if mark_lsn == 0 or mark_lsn < content.after_lsn:
                return False
            self._reader.take()
            self._start(request, content, mark_lsn)
            return True
        self._reader.take()
        if isinstance(content, ReaderCrashed):
            raise content.error
        if isinstance(content, TableWaits):
            self._tables.cannot_read(request.table, content.fault)
        else:
            self._failed(request.table, content)
        return True

    def _start(self, request: ReadRequest, found: TableFound, since_lsn: int) -> None:
        name, facts = request.table, found.facts
        topic = self._topics[name]
        self._tables.start_reading(name, since_lsn, found.bound)
        target = TableTarget(name, topic.name, topic.partitions, facts.primary_key, since_lsn)
        if not self._reads_rows and self._tables[name].request == 0:
            self._tables.read_up_to(name, TableReading((Heap(facts.oid, 0, 0),), 1))
            self._assembler.follow(facts.oid, target, found.bound)
            self._end()
            return
        self._assembler.keys.start(name)
        self._assembler.follow(facts.oid, target, found.bound)
        if not self._tables[name].is_streamed:
            # The definition changed meanwhile.
            self._backoff(name).tried(time.monotonic())
            self._end()
            return
        self._request = request._replace(reading=self._tables[name].reading)
        self._reader.table_started(request)

    def _publish(self, name: str, part: Part, position: Position) -> None:
        assembler = self._assembler
        part.headers.insert(0, (POSITION_HEADER, str(position).encode()))
        unseen = assembler.keys.unseen(name, part.snapshot)
        records = [r for r in part.records if r.key not in unseen] if unseen else part.records
        bound = self._tables[name].bound
        assert bound is not None  # noqa: S101 - a table that is read has a binding
        target = self._targets.by_oid[bound.oid]
        for change in part.large:
            if change.key not in unseen:
                records = [*records, *records_of(change, target, part.headers, self._targets)]
                self._tables.apply(name, ROW_TOO_LARGE)
        assembler.add(records, part.size_bytes)
        assembler.keys.forget(part.snapshot)
        SNAPSHOT_ROWS.labels(self._context.slot.source, name).inc(len(records))
        if part.reading is None:
            return
        self._tables.read_up_to(name, part.reading)
        SNAPSHOT_BLOCKS.labels(self._context.slot.source, name, "read").set(part.reading.blocks_read)
        SNAPSHOT_BLOCKS.labels(self._context.slot.source, name, "all").set(part.reading.blocks)
        if part.reading.is_complete:
            self._complete(name, target, part, position)

    def _complete(self, name: str, target: TableTarget, part: Part, position: Position) -> None:
        """Add the sweep markers. All that was published since the table's start is at or above their position."""
        since = Position(self._targets.epoch, self._tables[name].since_lsn, 0)
        markers = sweep_markers(target.topic, name, since, target.partitions)
        shared: list[tuple[str, bytes]] = part.headers[1:2]
        self._assembler.add(
            [RawRecord(m.topic, m.key, m.value, [*m.headers, *shared], m.partition) for m in markers], 0
        )
        self._end()
        self._backoff(name).reset()
        bound = self._tables[name].bound
        if bound is not None:
            self._assembler.reshape(bound.oid)
        log.info("table read", source=self._context.slot.source, table=name, position=str(position))

    def _failed(self, name: str, failed: ReadingFailed) -> None:
        if failed.moved:
            log.warning("table is read again", table=name, source=self._context.slot.source, why=str(failed.error))
            self._tables.set_pending(name)
            self._assembler.drop(name)
        else:
            self._tables.cannot_read(name, _not_yet(failed.error, f"{self._where}, table {name}"))
        self._backoff(name).tried(time.monotonic())
        self._end()


def _not_yet(error: EnvironmentFault | Transient, where: str) -> EnvironmentFault:
    if isinstance(error, EnvironmentFault):
        return error
    return EnvironmentFault(
        where,
        f"it could not be read yet: {error}",
        f"wait: it is tried again within {SNAPSHOT_RETRY_AFTER_MAX_S / 60:.0f} minutes",
    )
