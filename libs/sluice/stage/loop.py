"""The one loop: take, process, deliver, and only then commit. Every stage that reads Kafka runs it, live and replay.

A turn takes what the group reader has, begins partitions that were assigned, lets the process do its background work,
and delivers what came of it in batches bounded by output bytes. What goes wrong is told apart by what to do next:
see `sluice.errors`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import structlog

from sluice.errors import DeadRecord, EnvironmentFault, TransactionLost, Transient
from sluice.stage import metrics_of
from sluice.stage.batch import Batch
from sluice.stage.dead_letters import DeadLetterGuard
from sluice.stage.delivery import Delivery
from sluice.stage.group import ConsumerLost, GroupReader
from sluice.stage.partition import PartitionRecord
from sluice.stage.process import Owned, Process, Taken
from sluice.stage.record import At, End, Record
from sluice.stage.settings import StageSettings
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

TAKE_TIMEOUT_S = 0.2
IDLE_COMMIT_AFTER_S = 1.0
RETRY_START_AFTER_S = 5.0
RENEW_RECORDS_AFTER_S = 3_600.0
BATCH_BYTES_MIN = 64 * 1024

Begin = Callable[[Owned], Iterator[None]]
log = structlog.get_logger()


class Stage:
    """`run_until_signalled` is all a main calls. `topic_ids`: the pinned id of each input topic."""

    def __init__(
        self,
        *,
        name: str,
        settings: StageSettings,
        reader: GroupReader,
        process: Process,
        delivery: Delivery,
        dlq_topic: str,
        topic_ids: dict[str, str],
        health: Health,
    ) -> None:
        self._name = name
        self._settings = settings
        self._reader = reader
        self._process = process
        self._delivery = delivery
        self._dlq_topic = dlq_topic
        self._topic_ids = topic_ids
        self._health = health
        self._owned: dict[At, Owned] = {}
        self._starting: deque[tuple[At, Iterator[None]]] = deque()
        self._start_again: dict[At, float] = {}
        self._waiting: dict[At, int] = {}
        self._guards = {topic: DeadLetterGuard() for topic in topic_ids}
        self._paused: set[str] = set()
        self._bytes_max = settings.batch_bytes_max
        self._metrics = metrics_of.StageMetrics(name, reader.group)
        self._delivered_at = self._renewed_at = time.monotonic()
        self._backoff_s = 0.0

    def run_until_signalled(self) -> int:
        return self.run(Stop.on_signals())

    def run(self, stop: Stop) -> int:
        """Run until `stop` is requested; returns the exit code. Anything that is not a SluiceError comes through."""
        try:
            self._join(stop)
            while not stop.requested:
                self._health.progress()
                self._guarded(self._turn, stop)
                # Also after a turn that failed: lag must not stand still while nothing can be done.
                self._metrics.lag(self._owned.values(), self._reader)
        finally:
            self._reader.close()
            self._delivery.close()
        log.info("stopped", stage=self._name)
        return 0

    # ── one turn ──────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        self._delivery.open()
        self._reader.open()
        self._health.started()
        log.info("started", stage=self._name, group=self._reader.group)

    def _turn(self) -> None:
        busy = bool(self._starting) or any(self._process.busy(at) for at in self._waiting)
        # Only what was being read before counts: a partition begun in this turn is read from its start position, and
        # what came of it meanwhile came from elsewhere.
        reading = {at: owned for at, owned in self._owned.items() if owned.running and not self._held(at)}
        taken = self._reader.take(self._settings.batch_records_max, 0.0 if busy else TAKE_TIMEOUT_S)
        self._rebalanced()
        self._begin_partitions()
        self._background()
        self._take([item for item in taken if self._owned.get(item.at) is reading.get(item.at, self)])
        self._idle_commit()
        self._backoff_s = 0.0

    def _guarded(self, act: Callable[[], None], stop: Stop) -> None:
        """Do `act`; on an error with a policy, follow it."""
        try:
            act()
            self._health.mend("environment")
        except TransactionLost as error:
            log.warning("transaction lost; fencing again", why=str(error))
            self._halve_batches()
            self._begin_anew(stop)
        except ConsumerLost as error:
            log.warning("membership lost; joining again", why=str(error))
            self._begin_anew(stop)
        except Transient as error:
            log.warning("not now; same records again", why=str(error))
            self._halve_batches()
            self._rewind()
            self._wait(stop, error.retry_after_s)
        except EnvironmentFault as error:
            self._health.fault("environment", str(error))
            log.error("environment", where=error.where, why=error.why, next=error.next_step)
            self._rewind()
            self._wait(stop, None)

    def _begin_anew(self, stop: Stop) -> None:
        """New producer, new membership: every partition is begun again from what is durable."""
        self._process.dropped()
        for at in list(self._owned):
            self._forget(at)
        self._wait(stop, None)
        self._join(stop)

    def _join(self, stop: Stop) -> None:
        while not stop.requested:
            self._health.progress()
            try:
                self._open()
                return
            except Transient as error:
                log.warning("not now", why=str(error))
            except EnvironmentFault as error:
                self._health.fault("environment", str(error))
                log.error("environment", where=error.where, why=error.why, next=error.next_step)
            self._wait(stop, None)

    def _wait(self, stop: Stop, asked_s: float | None) -> None:
        """Back off, doubling up to five seconds; the stop signal cuts it short."""
        self._backoff_s = min(5.0, max(0.1, self._backoff_s * 2))
        stop.wait(min(asked_s or self._backoff_s, 30.0))

    def _halve_batches(self) -> None:
        self._bytes_max = max(BATCH_BYTES_MIN, self._bytes_max // 2)

    # ── partitions ────────────────────────────────────────────────────────────────────────────────────────────

    def _rebalanced(self) -> None:
        revoked, self._reader.revoked = self._reader.revoked, []
        assigned, self._reader.assigned = self._reader.assigned, []
        for at in revoked:
            self._forget(at)
        for at in assigned:
            self._enqueue(at)

    def _enqueue(self, at: At) -> None:
        topic_id = self._topic_ids[at[0]]
        owned = Owned(at, topic_id, None, PartitionRecord(topic_id, 0))
        self._owned[at] = owned
        self._starting.append((at, self._begun(owned)))

    def _forget(self, at: At) -> None:
        self._owned.pop(at, None)
        self._waiting.pop(at, None)
        self._start_again.pop(at, None)
        for item in [item for item in self._starting if item[0] == at]:
            self._starting.remove(item)
        self._process.stop(at)
        self._metrics.forget(at)

    def _begun(self, owned: Owned) -> Iterator[None]:
        owned.committed = self._reader.committed(owned.at)
        yield from self._process.start(owned)
        if owned.committed is None:
            # A group is born with a committed start: what a given-up first batch is offered again from, and what
            # tells a later start that this is no group whose offsets expired.
            self._reader.commit({owned.at: owned.position})
            owned.committed = owned.position
        owned.running = True
        owned.fresh = True
        if self._process.busy(owned.at):
            self._waiting[owned.at] = owned.position
        else:
            self._read_on(owned.at, owned.position)
        log.info("partition begun", topic=owned.at[0], partition=owned.at[1], offset=owned.position)

    def _begin_partitions(self) -> None:
        """One slice of work on the partition that is being begun; a fault there holds no other partition up."""
        now = time.monotonic()
        for at in [at for at, due in self._start_again.items() if due <= now]:
            del self._start_again[at]
            self._enqueue(at)
        if not self._starting:
            return
        at, steps = self._starting[0]
        until = now + TAKE_TIMEOUT_S
        try:
            while time.monotonic() < until:
                next(steps)
        except StopIteration:
            self._starting.popleft()
            self._health.mend(f"{at[0]}/{at[1]}")
        except (EnvironmentFault, Transient) as error:
            self._starting.popleft()
            self._process.stop(at)
            self._health.fault(f"{at[0]}/{at[1]}", str(error))
            self._start_again[at] = now + RETRY_START_AFTER_S
            log.error("partition not begun", topic=at[0], partition=at[1], why=str(error))

    def _rewind(self) -> None:
        """Offer again what is not committed: the batch's records, from each partition's committed position."""
        self._process.dropped()
        for owned in self._owned.values():
            if owned.running:
                owned.position = owned.committed if owned.committed is not None else owned.position
                if owned.at in self._waiting:
                    self._waiting[owned.at] = owned.position
                else:
                    self._read_on(owned.at, owned.position)

    def _read_on(self, at: At, offset: int) -> None:
        if at[0] not in self._paused:
            self._reader.begin_at(at, offset)

    def _held(self, at: At) -> bool:
        return at in self._waiting or at[0] in self._paused

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────────

    def _batch(self) -> Batch:
        age_max_s = self._settings.kafka.transaction_timeout_ms / 1000 * 0.3
        return Batch(self._name, self._dlq_topic, self._bytes_max, age_max_s)

    def _background(self) -> None:
        """The process's own work, a batch at a time, until it has none; then the partitions that waited go on."""
        if not any(owned.running for owned in self._owned.values()):
            return
        batch = self._batch()
        self._process.work(batch)
        if not batch.empty:
            self._deliver(batch)
        for at in [at for at in self._waiting if not self._process.busy(at)]:
            self._read_on(at, self._waiting.pop(at))

    def _take(self, taken: Sequence[Record | End]) -> None:
        batch = self._batch()
        for item in taken:
            owned = self._owned[item.at]
            if self._held(item.at) or item.offset < owned.position:
                continue  # a fetcher that was moved may repeat what it had
            if isinstance(item, End):
                owned.position = item.offset
                continue
            if self._handle(item, batch) is Taken.LATER:
                self._waiting[item.at] = item.offset
                self._reader.hold(item.at)
                continue
            owned.position = item.offset + 1
            if batch.full:
                self._deliver(batch)
                batch = self._batch()
        if not batch.empty:
            self._deliver(batch)

    def _handle(self, record: Record, batch: Batch) -> Taken:
        dead_before = batch.dead.total()
        # What a process adds only when the batch ends weighs about as much as what it is made from.
        batch.bytes += record.size_bytes
        try:
            taken = self._process.handle(record, batch)
        except DeadRecord as error:
            batch.park(record, error)
            batch.count(record.at, "dead")
            taken = Taken.DONE
        batch.positions[record.at] = record.offset + (taken is Taken.DONE)
        if taken is Taken.DONE:
            batch.newest_ms[record.at] = record.timestamp_ms
        if self._guards[record.topic].saw(batch.dead.total() > dead_before):
            self._pause(record.topic)
        return taken

    def _pause(self, topic: str) -> None:
        """Too many dead letters: this input topic waits for an operator; the others go on."""
        if topic in self._paused:
            return
        self._paused.add(topic)
        for at in self._owned:
            if at[0] == topic:
                self._reader.hold(at)
        why = "too many dead letters; this is a bad mapping or deploy, not bad records"
        self._health.fault(topic, why)
        self._metrics.paused(topic)
        log.error("input topic paused", topic=topic, why=why, next=f"mend it, then restart {self._name}")

    def _idle_commit(self) -> None:
        """Commit positions that moved without a record (control records at the end), and start offsets."""
        if time.monotonic() - self._delivered_at < IDLE_COMMIT_AFTER_S:
            return
        if time.monotonic() - self._renewed_at > RENEW_RECORDS_AFTER_S:
            # A quiet partition's record says when it was last looked at; else quiet weeks would look like an absence.
            self._renewed_at = time.monotonic()
            for owned in self._owned.values():
                owned.fresh = True
        if any(o.running and (o.fresh or o.position != o.committed) for o in self._owned.values()):
            self._deliver(self._batch())

    def _deliver(self, batch: Batch) -> None:
        self._process.complete(batch)
        for at, owned in self._owned.items():
            if owned.running:
                batch.positions[at] = owned.position
        learnt = self._delivery.deliver(batch, self._owned.values(), self._reader)
        self._process.committed(batch, learnt)
        for at, position in batch.positions.items():
            if (done := self._owned.get(at)) is not None:
                done.committed, done.reset, done.fresh = position, False, False
        self._delivered_at = time.monotonic()
        self._bytes_max = min(self._settings.batch_bytes_max, self._bytes_max + BATCH_BYTES_MIN)
        self._metrics.delivered(batch)
