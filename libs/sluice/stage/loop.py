"""The loop of every stage that reads Kafka, live and in a replay: take records, process them, deliver the batch,
commit.

One turn of the loop takes the records that the group reader has, applies rebalances, lets the process do background
work, and delivers the effects in batches of limited size. `assignment` decides which partitions are read, and
`recovery` decides what the loop does after an error.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog

from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record
from sluice.settings.stage import StageSettings
from sluice.stage.assignment import Assignment
from sluice.stage.batch import Batch
from sluice.stage.commit import Delivered, Delivery
from sluice.stage.dead_letters import PAUSED_WHY, DeadLetterGuard, to_resume
from sluice.stage.faults import StageFaults
from sluice.stage.group import GroupReader
from sluice.stage.metrics import StageMetrics
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.recovery import Backoff, Recovery
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

TAKE_TIMEOUT_S = 0.2
# While a batch is in flight, the loop checks this often whether it is durable. Then it delivers the open batch.
IN_FLIGHT_TIMEOUT_S = 0.002
IDLE_COMMIT_AFTER_S = 1.0
# A batch takes its records in slices, because 10,000 records of 1 kB take 40 MiB.
SLICE_RECORDS = 1_000
# The first batch after the start is small, so that its records soon reach the next stage. Each batch may have twice as
# many records as the one before.
FIRST_BATCH_RECORDS = 500

log = structlog.get_logger()


class Stage:
    """The loop of one stage. The main of a stage creates it and calls `run_until_signalled`."""

    def __init__(
        self,
        *,
        name: str,
        settings: StageSettings,
        reader: GroupReader,
        process: Process,
        delivery: Delivery,
        health: Health,
    ) -> None:
        self._name = name
        self._settings = settings
        self._reader = reader
        self._process = process
        self._delivery = delivery
        self._health = health
        self._metrics = StageMetrics(name, reader.group)
        self._faults = StageFaults(health)
        self._assignment = Assignment(reader, process, self._faults, self._metrics.forget)
        self._guards = {topic: DeadLetterGuard() for topic in reader.topic_ids}
        self._backoff = Backoff(settings.batch_bytes_max)
        self._recovery = Recovery(reader, delivery, process, self._assignment, self._backoff, self._faults)
        self._open: Batch | None = None
        self._records_max = min(FIRST_BATCH_RECORDS, settings.batch_records_max)
        self._delivered_at = self._renewed_at = time.monotonic()

    def run_until_signalled(self) -> int:
        return self.run(Stop.on_signals())

    def run(self, stop: Stop) -> int:
        """Run until `stop` is requested; returns the exit code. An error without a policy in `Recovery` propagates."""
        self._health.watched()
        try:
            self._recovery.join(stop)
            while not stop.requested:
                self._health.progress()
                self._recovery.attempt(self._turn, stop)
                # Measure the lag after a failed turn too, because the lag grows while no turn succeeds.
                self._metrics.lag(self._assignment, self._reader)
            self._recovery.attempt(self._settle, stop)
        finally:
            self._reader.close()
            self._delivery.close()
        log.info("stopped", stage=self._name)
        return 0

    def _turn(self) -> None:
        try:
            self._take_and_process()
        except BaseException:
            self._open = None  # its records are read again
            raise

    def _take_and_process(self) -> None:
        # Process only records of partitions that were read before this turn. A partition that starts in this turn is
        # read from its start offset on, and records that were taken earlier in this turn are from another offset.
        self._assignment.resume_due()
        reading = self._assignment.reading()
        slice_max = min(SLICE_RECORDS, self._records_max)
        taken = self._reader.take(slice_max, self._take_timeout_s())
        self._faults.read(taken)
        if self._reader.revoked:
            self._finish()
            if self._open is not None:
                self._give_up_open()
                return
        elif self._assignment.busy or self._reader.assigned:
            self._settle()
        elif not self._delivery.busy:
            self._finish()
        self._assignment.apply_rebalance()
        self._assignment.start_next()
        if self._open is None:
            self._background()
        owned = self._assignment.owned
        read = [item for item in taken if item.at in reading and owned.get(item.at) is reading[item.at]]
        self._process_all(read, more=len(taken) >= slice_max)
        self._renew()
        if self._open is None and not self._delivery.busy:
            self._idle_commit()

    def _give_up_open(self) -> None:
        """Give up the open batch, because it may contain records of a revoked partition. The next owner of that
        partition may already read them, and Kafka would not refuse their offsets from another member of the group."""
        self._open = None
        self._process.given_up()
        self._assignment.apply_rebalance()
        self._assignment.rewind()

    def _take_timeout_s(self) -> float:
        if self._assignment.busy:
            return 0.0
        if self._open is not None and not self._delivery.busy:
            return 0.0  # the batch takes what has arrived, and waits for nothing
        return IN_FLIGHT_TIMEOUT_S if self._delivery.busy else TAKE_TIMEOUT_S

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def _background(self) -> None:
        """Deliver one batch of the process's background work, and unblock the partitions that have none left."""
        if not self._assignment.owned:
            return
        batch = self._new_batch()
        self._process.work(batch)
        if not batch.empty:
            self._deliver(batch)
        self._assignment.unblock()

    def _process_all(self, taken: Sequence[Record | End], *, more: bool) -> None:
        """Process one slice of records. `more`: more records have probably arrived, and the open batch takes them."""
        batch = self._open or self._new_batch()
        try:
            for at, items in _by_partition(taken).items():
                batch = self._process_partition(self._assignment.owned[at], items, batch)
        finally:
            self._health.processing(None)
        if batch.empty:
            return
        self._process.combine(batch)
        # While a batch is in flight, this one takes more records. So a slower writer gets larger batches.
        self._open = batch
        if not self._delivery.busy and not (more and batch.handled < self._records_max):
            self._deliver(batch)

    def _process_partition(self, owned: Owned, items: Iterable[Record | End], batch: Batch) -> Batch:
        """Process consecutive `items` of one partition: add their effects to `batch`, and deliver each full batch.
        Returns the batch that is open now. Stops when the partition is blocked or its topic is paused."""
        at = owned.at
        for item in items:
            if not self._assignment.is_read(at):
                break
            if item.offset < owned.next_offset:
                continue  # after a seek, librdkafka may still return records that it had fetched before
            owned.offered = max(owned.offered, item.offset + isinstance(item, Record))
            if isinstance(item, End):
                owned.next_offset = item.offset
                continue
            if self._handle(item, batch) is Handled.AGAIN:
                self._assignment.block(at, item.offset)
                break
            owned.next_offset = item.offset + 1
            batch.newest_ms[at] = item.timestamp_ms
            if batch.full:
                self._deliver(batch)
                batch = self._new_batch()
        return batch

    def _handle(self, record: Record, batch: Batch) -> Handled:
        topic, dead_before = record.topic, batch.dead
        # Count the size of the input too: what `complete` adds to the batch has about the size of the input records.
        batch.bytes += record.size_bytes
        self._health.processing(record)
        self._metrics.lag(self._assignment, self._reader)  # records wait while a slow process handles this one
        try:
            handled = self._process.handle(record, batch)
        except DeadRecord as error:
            batch.park(record, error)
            batch.count(record.at, "dead")
            handled = Handled.DONE
        batch.handled += 1
        dead = batch.dead - dead_before
        if dead:
            batch.dead_counted_by_topic[topic] += dead
        if handled is Handled.DONE and self._guards[topic].add(record.partition, record.offset, dead > 0):
            self._pause(topic)
        return handled

    def _pause(self, topic: str) -> None:
        """Stop reading `topic`, because it has too many dead letters. An operator must resume it; other topics are
        read."""
        if not self._assignment.pause(topic):
            return
        next_step = to_resume(self._name, self._reader.group, topic)
        self._health.fault(topic, f"this input topic is paused: {PAUSED_WHY}. Next: {next_step}")
        self._metrics.paused(topic)

    # ── delivery ──────────────────────────────────────────────────────────────────────────────────────────────

    def _new_batch(self) -> Batch:
        age_max_s = self._settings.kafka.transaction_timeout_ms / 1000 * 0.3
        return Batch(self._name, self._delivery.dlq_topic, self._backoff.batch_bytes, age_max_s)

    def _renew(self) -> None:
        """Write all partition records from time to time. Without this, weeks without a record look like an absence of
        the stage."""
        if time.monotonic() - self._renewed_at < self._settings.renew_records_after_s:
            return
        self._renewed_at = time.monotonic()
        self._assignment.write_records()

    def _idle_commit(self) -> None:
        """Commit next offsets that moved without a record (a partition may end in control records), and write the
        partition records of partitions that have just started."""
        if time.monotonic() - self._delivered_at < IDLE_COMMIT_AFTER_S:
            return
        if any(one.record_is_stale for one in self._assignment.owned.values()):
            self._deliver(self._new_batch())

    def _deliver(self, batch: Batch) -> None:
        """Deliver `batch`, or start its delivery. Before, wait until the batch in flight is durable."""
        self._open = None
        self._health.processing(None)
        self._process.complete(batch)
        self._note_durable(self._delivery.finish())
        self._note_durable(self._delivery.deliver(batch, self._assignment.owned.values(), self._reader))
        self._delivered_at = time.monotonic()
        self._records_max = min(self._settings.batch_records_max, self._records_max * 2)
        # Those of the previous batch: Kafka stores them while this batch is written.
        self._delivery.commit_offsets(self._reader)

    def _finish(self) -> None:
        """Wait until the batch in flight is durable, and commit its offsets."""
        self._note_durable(self._delivery.finish())
        self._delivery.commit_offsets(self._reader)

    def _settle(self) -> None:
        """Deliver the open batch, and wait until no batch is in flight. Called before a rebalance is applied or a
        partition starts: both need the outcome of every batch."""
        if self._open is not None:
            self._deliver(self._open)
        self._finish()

    def _note_durable(self, delivered: Delivered | None) -> None:
        if delivered is None:
            return
        batch, partitions, offsets_after = delivered
        self._process.committed(batch, offsets_after)
        for one in partitions:
            owned = self._assignment.owned.get(one.at)
            if owned is not None:
                owned.committed, owned.reset = one.next_offset, False
        self._delivered_at = time.monotonic()
        self._health.progress()
        self._faults.delivered()
        self._backoff.delivered()
        self._metrics.delivered(batch)
        for topic, late in (batch.dead_by_topic - batch.dead_counted_by_topic).items():
            if self._guards[topic].add_late(late):
                self._pause(topic)


def _by_partition(taken: Iterable[Record | End]) -> dict[Partition, list[Record | End]]:
    """The items of each partition, in their order. Nothing depends on the order of records of two partitions."""
    found: dict[Partition, list[Record | End]] = defaultdict(list)
    for item in taken:
        found[item.at].append(item)
    return found
