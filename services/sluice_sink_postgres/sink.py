"""The sink's process and writer: each record becomes a change of a row, and each batch one Postgres transaction.

`sluice.stage.commit.DirectDelivery` first flushes the dead letters, then commits in Postgres, then the offsets.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sluice.errors import DeadRecord
from sluice.golden import binary
from sluice.golden.columns import GoldenTable
from sluice.golden.lease import Lease
from sluice.golden.store import GoldenStore, Progress
from sluice.golden.writer import RowChange, Written
from sluice.headers import ORIGIN_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in
from sluice.stage.batch import RECORD_OVERHEAD_BYTES, Batch
from sluice.stage.ledger import ledger_key
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.start import StageIdentity, set_start
from sluice.stage.start_decision import ABSENCE_MAX_S
from sluice.telemetry import Health, metrics
from sluice_sink_postgres.row_decoder import DecodeRow

CHECK_INTERVAL_S = 5.0


@dataclass(slots=True)
class _TopicChanges:
    """The changes of one batch from one topic. `rows`: the row change of each of `records`. `read_ids`: the (partition,
    entity id) pairs of the records that a pass read, also of dead ones."""

    records: list[Record] = field(default_factory=list)
    rows: list[RowChange] = field(default_factory=list)
    read_ids: list[tuple[int, str]] = field(default_factory=list)


_Changes = defaultdict[str, _TopicChanges]
"""The changes of one batch by topic."""


class Sink(Process):
    """The process of the stage, and also the `Writer` of the stage's delivery.

    `tables`, `decoders`: by canonical topic.
    """

    def __init__(
        self,
        stage: StageIdentity,
        tables: Mapping[str, GoldenTable],
        store: GoldenStore,
        decoders: Mapping[str, DecodeRow],
        reader: LogReader,
        health: Health,
    ) -> None:
        self._stage = stage
        self._tables = tables
        self._store = store
        self._decoders = decoders
        self._reader = reader
        self._health = health
        self._check_at = time.monotonic()
        self._leases: dict[Partition, Lease] = {}
        self._changes = _Changes(_TopicChanges)
        self._in_flight: dict[Batch, _Changes] = {}
        self._ended_passes: list[Lease] = []
        self._committed_at_s = 0.0

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owned: Owned) -> Iterator[None]:
        """Take the lease of the partition in Postgres, and set the offset from which the partition is read.

        Raises EnvironmentFault, which names `sluice sink rebuild`, if the topic's id is unknown or progress is lost.
        """
        lease = self._store.lease(*owned.at, owned.topic_id)
        yield
        record = None
        if lease.processed is not None:
            record = PartitionRecord(lease.topic_id, lease.processed, at=lease.at_s)
        set_start(owned, record, self._reader, self._stage)
        self._leases[owned.at] = self._start_or_end_pass(owned, record, lease)

    def _start_or_end_pass(self, owned: Owned, record: PartitionRecord | None, lease: Lease) -> Lease:
        """The lease after a pass over its whole partition was started, or ended, if that is necessary.

        A pass starts after a long absence of the sink: compaction may have deleted tombstones meanwhile, and only a
        pass finds the entities that they deleted. A pass ends when records were skipped, because it would not be
        complete.
        """
        if record is None:
            return lease
        if lease.pass_end is not None and owned.next_offset > record.processed:
            return self._store.set_pass(lease, None, None)
        if lease.pass_end is None and owned.reset and time.time() - record.at > ABSENCE_MAX_S:
            return self._store.set_pass(lease, owned.next_offset, self._reader.ends([owned.at])[owned.at])
        return lease

    def stop(self, at: Partition) -> None:
        self._leases.pop(at, None)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, record: Record, batch: Batch) -> Handled:
        lease = self._leases[record.topic, record.partition]
        entity_id = _entity_id(record)
        changes = self._changes[record.topic]
        if lease.pass_end is not None:
            changes.read_ids.append((record.partition, entity_id))
        row = None
        if record.value is not None:
            columns = len(self._tables[record.topic].copied)
            origin = binary.pack_origin(columns, lease.epoch, record.partition, record.offset, record.key or b"")
            row = self._decoders[record.topic](record.value, origin)
        changes.records.append(record)
        changes.rows.append(RowChange(entity_id, lease.epoch, record.partition, record.offset, row))
        batch.bytes += len(row or b"") + RECORD_OVERHEAD_BYTES
        return Handled.DONE

    def work(self, batch: Batch) -> None:
        if not self._in_flight:  # otherwise the connection is in use, and `write` checks
            self._check()

    def _check(self) -> None:
        """Every `CHECK_INTERVAL_S` seconds, check that no other writer changed the tables."""
        if time.monotonic() < self._check_at:
            return
        ours = {topic for topic, _ in self._leases}
        for topic, fault in self._store.check().items():
            about = f"rows of {self._tables[topic].full_name}"
            if fault is None or topic not in ours:  # the sink process that owns the topic reports the table's fault
                self._health.resolve(about)
            else:
                self._health.fault(about, str(fault))
        self._check_at = time.monotonic() + CHECK_INTERVAL_S

    def complete(self, batch: Batch) -> None:
        self._in_flight[batch], self._changes = self._changes, _Changes(_TopicChanges)

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        for topic, changes in self._in_flight.pop(batch).items():
            origins_ms = (number_in(record.headers.get(ORIGIN_HEADER)) for record in changes.records)
            ages_s = [max(0.0, self._committed_at_s - ms / 1000) for ms in origins_ms if ms is not None]
            metrics.FRESHNESS.labels(self._tables[topic].name).observe_all(ages_s)
        for lease in self._ended_passes:
            self._leases[lease.topic, lease.partition] = lease._replace(pass_from=None, pass_end=None)
        self._ended_passes = []

    def given_up(self) -> None:
        self._changes = _Changes(_TopicChanges)
        self._in_flight.clear()
        self._ended_passes = []

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None:
        """Write the batch to Postgres without the commit. Rejected records become dead letters of the batch."""
        self._check()
        moved = [one for one in owned if one.must_be_written(batch)]
        if not moved:
            return
        leases = {one.at: self._leases[one.at] for one in moved}
        changes = self._in_flight[batch]
        rows = {topic: one.rows for topic, one in changes.items() if one.rows}
        written = self._store.write(leases, rows, self._read_ids(changes))
        for topic, result in written.items():
            _count_outcomes(batch, topic, changes[topic].records, result)
        self._ended_passes = self._store.record_progress([self._progress(one, batch) for one in moved])

    def _read_ids(self, changes: _Changes) -> dict[str, list[tuple[int, str]]]:
        """The read ids of `changes` whose pass has not ended since their records were handled. Ids of an ended pass
        would keep rows in the next pass."""
        return {
            topic: [pair for pair in one.read_ids if self._leases[topic, pair[0]].pass_end is not None]
            for topic, one in changes.items()
        }

    def _progress(self, owned: Owned, batch: Batch) -> Progress:
        key, line = ledger_key(self._stage.group, *owned.at).decode(), owned.ledger_line(batch).decode()
        return Progress(self._leases[owned.at], owned.next_offset, key, line, owned.record.paused_at)

    def commit(self) -> None:
        self._store.commit()
        self._committed_at_s = time.time()

    def rollback(self) -> None:
        self._store.rollback()


def _count_outcomes(batch: Batch, topic: str, records: Sequence[Record], written: Written) -> None:
    """Park the records that Postgres rejected, and count the outcome of every record."""
    taken = Counter(record.partition for record in records)
    rejected = {(one.change.partition, one.change.offset): one.error for one in written.rejected}
    for record in records if rejected else ():
        error = rejected.get((record.partition, record.offset))
        if error is not None:
            batch.park(record, error)
            batch.count(record.at, "dead")
            taken[record.partition] -= 1
    for partition, count in taken.items():
        effective = written.effective[partition]
        batch.counts[topic, partition]["mapped"] += effective
        batch.counts[topic, partition]["superseded"] += count - effective


def _entity_id(record: Record) -> str:
    if not record.key:
        raise DeadRecord("no-key", "a canonical record has the entity's id as its key")
    try:
        entity_id = record.key.decode()
    except UnicodeDecodeError:
        raise DeadRecord("bad-key", "the key is not UTF-8") from None
    if "\0" in entity_id:
        raise DeadRecord("bad-key", "the key contains U+0000")
    return entity_id
