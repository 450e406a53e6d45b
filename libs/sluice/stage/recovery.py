"""What a stage's loop does after an error: it waits, reads the same records again, or joins its consumer group again.
The kind of the error decides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import structlog

from sluice.errors import Bug, DeadRecord, EnvironmentFault, Fenced, TopicFault, TransactionLost, Transient
from sluice.stage.assignment import Assignment
from sluice.stage.commit import Delivery
from sluice.stage.faults import ResolvedBy, StageFaults
from sluice.stage.group import ConsumerLost, GroupReader, Unreadable
from sluice.stage.process import Process
from sluice.stage.signals import Stop

STANDSTILL = "standstill"
FENCED = "fenced"
FENCED_OFTEN = 3
FENCED_WITHIN_S = 300.0
# How long an input topic with a fault is not read. Each attempt that fails also re-reads records of the other topics,
# so this happens at most once in this interval.
TOPIC_RETRY_S = 5.0
BATCH_BYTES_MIN = 64 * 1024
WAIT_MIN_S = 0.1
WAIT_MAX_S = 5.0
REQUESTED_WAIT_MAX_S = 30.0

log = structlog.get_logger()


class Fences:
    """Counts how often this process was fenced. One time means that a successor took over. Repeated fencing means that
    another process runs with the same transactional id."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=FENCED_OFTEN)

    def add(self, now_s: float) -> bool:
        """Note that this process was fenced at `now_s`. Returns the same as `often`."""
        self._at.append(now_s)
        return self.often(now_s)

    def often(self, now_s: float) -> bool:
        """Whether this process was fenced FENCED_OFTEN times within FENCED_WITHIN_S."""
        return len(self._at) == FENCED_OFTEN and now_s - self._at[0] < FENCED_WITHIN_S


class Backoff:
    """Makes batches smaller and waits longer after errors. `batch_bytes`: the current size limit of a batch."""

    def __init__(self, batch_bytes_max: int) -> None:
        self.batch_bytes = self._batch_bytes_max = batch_bytes_max
        self._wait_s = 0.0

    def delivered(self) -> None:
        self.batch_bytes = min(self._batch_bytes_max, self.batch_bytes + BATCH_BYTES_MIN)

    def succeeded(self) -> None:
        """A turn of the loop ended without an error."""
        self._wait_s = 0.0

    def halve(self) -> None:
        """Halve the size limit of a batch, because the batch that failed may have been too large."""
        self.batch_bytes = max(BATCH_BYTES_MIN, self.batch_bytes // 2)

    def wait(self, stop: Stop, requested_s: float | None = None) -> None:
        """Wait for `requested_s` seconds, or else for twice the time of the last wait. Returns early if `stop` is
        requested."""
        self._wait_s = min(WAIT_MAX_S, max(WAIT_MIN_S, self._wait_s * 2))
        stop.wait(min(requested_s or self._wait_s, REQUESTED_WAIT_MAX_S))


class Recovery:
    """Joins the group and opens the delivery; repeats both after the membership or the transaction was lost."""

    def __init__(
        self,
        reader: GroupReader,
        delivery: Delivery,
        process: Process,
        assignment: Assignment,
        backoff: Backoff,
        faults: StageFaults,
    ) -> None:
        self._reader = reader
        self._delivery = delivery
        self._process = process
        self._assignment = assignment
        self._backoff = backoff
        self._faults = faults
        self._health = faults.health
        self._fences = Fences()

    def join(self, stop: Stop) -> None:
        """Open the delivery, which fences an earlier process, and join the group. Tries until both succeed or `stop` is
        requested."""
        while not stop.requested:
            self._health.progress()
            try:
                self._delivery.open()
                self._reader.open()
                self._faults.joined(time.monotonic())
                self._health.started()
                log.info("started", group=self._reader.group)
                return
            except Transient as error:
                self._transient("cannot join yet", error, ResolvedBy(joined=True))
            except EnvironmentFault as error:
                self._faults.failed(error.where, str(error), ResolvedBy(joined=True), time.monotonic())
            self._backoff.wait(stop)
            self._faults.not_joined(time.monotonic())

    def attempt(self, act: Callable[[], None], stop: Stop) -> None:
        """Call `act`, and handle its errors by their policy. An error without a policy propagates.

        Raises Bug if `act` raises DeadRecord, because it is not known which record the error concerns.
        """
        try:
            act()
            if not self._fences.often(time.monotonic()):
                self._health.resolve(FENCED)
            self._backoff.succeeded()
        except TransactionLost as error:
            self._transient("transaction lost; fencing again", error, self._assignment.under_way())
            if isinstance(error, Fenced) and self._fences.add(time.monotonic()):
                self._health.fault(FENCED, str(self._rival(error)))
            self._backoff.halve()
            self._rejoin(stop)
        except ConsumerLost as error:
            self._transient("membership lost; joining again", error, self._assignment.under_way())
            self._rejoin(stop)
        except Transient as error:
            under_way = self._assignment.under_way()
            self._transient("transient error; reading the same records again", error, under_way)
            self._backoff.halve()
            self._retry(under_way)
            self._backoff.wait(stop, error.retry_after_s)
        except DeadRecord as error:
            raise Bug(f"DeadRecord outside of handle, where no record can be parked: {error}") from error
        except EnvironmentFault as error:
            under_way = self._assignment.under_way()
            resolved_by = ResolvedBy(read={error.at}) if isinstance(error, Unreadable) else under_way
            self._faults.failed(error.where, str(error), resolved_by, time.monotonic())
            if isinstance(error, TopicFault):
                self._assignment.pause_for(error.topic, TOPIC_RETRY_S)
            self._retry(under_way)
            self._backoff.wait(stop)
        self._faults.review(self._assignment.state(), time.monotonic())

    def _transient(self, message: str, error: Transient, resolved_by: ResolvedBy) -> None:
        why = f"the stage makes no progress: {error}. Next: check what this names; the stage tries again by itself"
        if self._faults.failed(STANDSTILL, why, resolved_by, time.monotonic(), transient=True):
            log.warning(message, why=str(error))

    def _rejoin(self, stop: Stop) -> None:
        """Join the group again. Every partition then starts again from its durable state."""
        self._delivery.give_up()
        self._process.given_up()
        self._assignment.forget_all()
        self._backoff.wait(stop)
        self.join(stop)

    def _retry(self, under_way: ResolvedBy) -> None:
        """Give up the open batch and the batch in flight, and read again the records that are not committed."""
        self._delivery.give_up()
        self._process.given_up()
        self._assignment.rewind()
        if under_way.next_delivery:
            # Only a successful delivery resolves the fault. Cause one, because perhaps no record arrives.
            self._assignment.write_records()

    def _rival(self, error: Fenced) -> EnvironmentFault:
        instance = self._reader.instance
        return EnvironmentFault(
            f"transactional id {error.transactional_id}",
            f"fenced {FENCED_OFTEN} times within {FENCED_WITHIN_S:.0f} s: another process runs with "
            f"SLUICE_INSTANCE={instance}, and the two processes fence each other",
            "stop one of them, or give it another SLUICE_INSTANCE",
        )
