"""The sink's process and writer: each record becomes a change of a row, and each batch one Postgres transaction.

`sluice.stage.commit.DirectDelivery` first flushes the dead letters, then commits in Postgres, then the offsets.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from sluice.errors import DeadRecord
from sluice.golden.columns import GoldenTable
from sluice.golden.lease import Lease
from sluice.golden.store import GoldenStore, Progress
from sluice.golden.writer import RowChange, Written
from sluice.headers import ORIGIN_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in
from sluice.names import SINK_POSTGRES
from sluice.schemas.decoder import Decode
from sluice.stage.batch import RECORD_OVERHEAD_BYTES, Batch
from sluice.stage.ledger import ledger_key
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.start import StageIdentity, set_start
from sluice.stage.start_decision import ABSENCE_MAX_S
from sluice.telemetry import Health, metrics

CHECK_INTERVAL_S = 5.0


class Sink(Process):
    """The process of the stage, and also the `Writer` of the stage's delivery. `tables`: by canonical topic."""

    def __init__(
        self,
        group: str,
        control_topic: str,
        tables: Mapping[str, GoldenTable],
        store: GoldenStore,
        decode: Decode,
        reader: LogReader,
        health: Health,
    ) -> None:
        self._group = group
        self._control_topic = control_topic
        self._tables = tables
        self._store = store
        self._decode = decode
        self._reader = reader
        self._health = health
        self._check_at = time.monotonic()
        self._leases: dict[Partition, Lease] = {}
        self._pending: list[tuple[Record, RowChange]] = []
        self._read_ids: dict[str, list[tuple[int, str]]] = {}
        self._ended: list[Lease] = []

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
        set_start(owned, record, self._reader, StageIdentity(SINK_POSTGRES, self._group, self._control_topic))
        self._leases[owned.at] = self._with_pass(owned, record, lease)

    def _with_pass(self, owned: Owned, record: PartitionRecord | None, lease: Lease) -> Lease:
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
        lease = self._leases[record.at]
        entity_id = _entity_id(record)
        if lease.pass_end is not None:
            self._read_ids.setdefault(record.topic, []).append((record.partition, entity_id))
        row = None
        if record.value is not None:
            decoded = self._decode(record.value)
            row = self._tables[record.topic].row(entity_id, decoded.fields, decoded.sluice)
        self._pending.append((record, RowChange(entity_id, lease.epoch, record.partition, record.offset, row)))
        batch.bytes += record.size_bytes + RECORD_OVERHEAD_BYTES
        return Handled.DONE

    def work(self, batch: Batch) -> None:
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

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        for record, _ in self._pending:
            origin_ms = number_in(record.headers.get(ORIGIN_HEADER))
            if origin_ms is not None:
                entity = self._tables[record.topic].name
                metrics.FRESHNESS.labels(entity).observe(max(0.0, time.time() - origin_ms / 1000))
        for lease in self._ended:
            self._leases[lease.topic, lease.partition] = lease._replace(pass_from=None, pass_end=None)
        self._clear()

    def dropped(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._pending.clear()
        self._read_ids.clear()
        self._ended.clear()

    # ── writing ───────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None:
        """Write the batch to Postgres without the commit. Rejected records become dead letters of the batch."""
        moved = [one for one in owned if one.must_be_written(batch)]
        if not moved:
            return
        leases = {one.at: self._leases[one.at] for one in moved}
        changes: dict[str, list[RowChange]] = {}
        for record, change in self._pending:
            changes.setdefault(record.topic, []).append(change)
        written = self._store.write(leases, changes, self._read_ids)
        self._account(batch, written)
        self._ended = self._store.record_progress([self._progress(one, batch) for one in moved])

    def _account(self, batch: Batch, written: Mapping[str, Written]) -> None:
        """Park the records that Postgres rejected, and count the outcome of every record."""
        rejected = {
            (topic, one.change.partition, one.change.offset): one.error
            for topic, result in written.items()
            for one in result.rejected
        }
        taken = Counter(record.at for record, _ in self._pending)
        for record, _ in self._pending if rejected else ():
            error = rejected.get((record.topic, record.partition, record.offset))
            if error is not None:
                batch.park(record, error)
                batch.count(record.at, "dead")
                taken[record.at] -= 1
        for at, count in taken.items():
            effective = written[at[0]].effective[at[1]]
            batch.counts[at]["mapped"] += effective
            batch.counts[at]["superseded"] += count - effective

    def _progress(self, owned: Owned, batch: Batch) -> Progress:
        key, line = ledger_key(self._group, *owned.at).decode(), owned.ledger_line(batch).decode()
        return Progress(self._leases[owned.at], owned.next_offset, key, line, owned.record.paused_at)

    def commit(self) -> None:
        self._store.commit()

    def rollback(self) -> None:
        self._store.rollback()


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
