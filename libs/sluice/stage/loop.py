"""The one loop: take, process, deliver, and only then commit. Every stage that reads Kafka runs it, live and replay.

A turn takes what the group reader has, follows what a rebalance changed, lets the process do its background work, and
delivers what came of it in batches bounded by output bytes. What partitions those are: `assignment`; what is done
about an error: `recovery`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from sluice.errors import DeadRecord
from sluice.kafka.record import End, Record
from sluice.settings.stage import StageSettings
from sluice.stage.assignment import Assignment
from sluice.stage.batch import Batch
from sluice.stage.dead_letters import PAUSED_WHY, DeadLetterGuard, to_resume
from sluice.stage.delivery import Delivery
from sluice.stage.faults import StageFaults
from sluice.stage.group import GroupReader
from sluice.stage.metrics import StageMetrics
from sluice.stage.process import Handled, Process
from sluice.stage.recovery import Pace, Recovery
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

TAKE_TIMEOUT_S = 0.2
IDLE_COMMIT_AFTER_S = 1.0

log = structlog.get_logger()


class Stage:
    """A main creates it and calls `run_until_signalled`."""

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
        self._pace = Pace(settings.batch_bytes_max)
        self._recovery = Recovery(reader, delivery, process, self._assignment, self._pace, health, self._faults)
        self._delivered_at = self._renewed_at = time.monotonic()

    def run_until_signalled(self) -> int:
        return self.run(Stop.on_signals())

    def run(self, stop: Stop) -> int:
        """Run until `stop` is requested; returns the exit code. Anything that is not a SluiceError comes through."""
        self._health.watched()
        try:
            self._recovery.join(stop)
            while not stop.requested:
                self._health.progress()
                self._recovery.guarded(self._turn, stop)
                # Also after a turn that failed: lag must not stand still while nothing can be done.
                self._metrics.lag(self._assignment, self._reader)
        finally:
            self._reader.close()
            self._delivery.close()
        log.info("stopped", stage=self._name)
        return 0

    def _turn(self) -> None:
        # Only what was being read before counts: a partition begun in this turn is read from its start offset, and
        # what came of it meanwhile came from elsewhere.
        self._assignment.wake()
        reading = self._assignment.reading()
        taken = self._reader.take(self._settings.batch_records_max, 0.0 if self._assignment.busy else TAKE_TIMEOUT_S)
        self._faults.read(taken)
        self._assignment.follow()
        self._assignment.begin()
        self._background()
        owned = self._assignment.owned
        self._take([item for item in taken if item.at in reading and owned.get(item.at) is reading[item.at]])
        self._renew()
        self._idle_commit()

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def _background(self) -> None:
        """The process's own work, a batch at a time, until it has none; then the partitions that waited go on."""
        if not self._assignment.owned:
            return
        batch = self._batch()
        self._process.work(batch)
        if not batch.empty:
            self._deliver(batch)
        self._assignment.read_on()

    def _take(self, taken: Sequence[Record | End]) -> None:
        batch = self._batch()
        for item in taken:
            owned = self._assignment.owned[item.at]
            if self._assignment.held(item.at) or item.offset < owned.next_offset:
                continue  # a fetcher that was moved may repeat what it had
            owned.offered = max(owned.offered, item.offset + isinstance(item, Record))
            if isinstance(item, End):
                owned.next_offset = item.offset
                continue
            if self._handle(item, batch) is Handled.AGAIN:
                self._assignment.wait(item.at, item.offset)
                continue
            owned.next_offset = item.offset + 1
            if batch.full:
                self._deliver(batch)
                batch = self._batch()
        if not batch.empty:
            self._deliver(batch)

    def _handle(self, record: Record, batch: Batch) -> Handled:
        topic, parked_before = record.topic, batch.parked[record.topic]
        # What a process adds only when the batch ends weighs about as much as what it is made from.
        batch.bytes += record.size_bytes
        self._health.processing(record)
        self._metrics.lag(self._assignment, self._reader)  # records of a slow process wait meanwhile
        try:
            taken = self._process.handle(record, batch)
        except DeadRecord as error:
            batch.park(record, error)
            batch.count(record.at, "dead")
            taken = Handled.DONE
        finally:
            self._health.processing(None)
        batch.next_offsets[record.at] = record.offset + (taken is Handled.DONE)
        if taken is Handled.DONE:
            batch.newest_ms[record.at] = record.timestamp_ms
        dead = batch.parked[topic] - parked_before
        batch.judged[topic] += dead
        if taken is Handled.DONE and self._guards[topic].saw(record.partition, record.offset, dead > 0):
            self._pause(topic)
        return taken

    def _pause(self, topic: str) -> None:
        """Too many dead letters: this input topic waits for an operator; the others go on."""
        if not self._assignment.pause(topic):
            return
        next_step = to_resume(self._name, self._reader.group, topic)
        self._health.fault(topic, f"this input topic is paused: {PAUSED_WHY}. Next: {next_step}")
        self._metrics.paused(topic)

    # ── delivery ──────────────────────────────────────────────────────────────────────────────────────────────

    def _batch(self) -> Batch:
        age_max_s = self._settings.kafka.transaction_timeout_ms / 1000 * 0.3
        return Batch(self._name, self._delivery.dlq_topic, self._pace.batch_bytes, age_max_s)

    def _renew(self) -> None:
        """A quiet partition's record says when it was last looked at; else quiet weeks would look like an absence."""
        if time.monotonic() - self._renewed_at < self._settings.renew_records_after_s:
            return
        self._renewed_at = time.monotonic()
        self._assignment.look_again()

    def _idle_commit(self) -> None:
        """Commit offsets that moved without a record (control records at the end), and start offsets."""
        if time.monotonic() - self._delivered_at < IDLE_COMMIT_AFTER_S:
            return
        owned = self._assignment.owned.values()
        if any(one.fresh or one.next_offset != one.committed for one in owned):
            self._deliver(self._batch())

    def _deliver(self, batch: Batch) -> None:
        owned = self._assignment.owned
        self._process.complete(batch)
        batch.next_offsets |= {at: one.next_offset for at, one in owned.items()}
        learnt = self._delivery.deliver(batch, owned.values(), self._reader)
        self._process.committed(batch, learnt)
        for at, offset in batch.next_offsets.items():
            if (done := owned.get(at)) is not None:
                done.committed, done.reset, done.fresh = offset, False, False
        self._delivered_at = time.monotonic()
        self._health.progress()
        self._faults.delivered()
        self._pace.delivered()
        self._metrics.delivered(batch)
        for topic, late in (batch.parked - batch.judged).items():
            if self._guards[topic].rejected(late):
                self._pause(topic)
