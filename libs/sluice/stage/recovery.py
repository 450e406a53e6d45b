"""What the loop does about an error, by its kind: wait, offer the same records again, or join anew."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import structlog

from sluice.errors import Bug, DeadRecord, EnvironmentFault, Fenced, TopicFault, TransactionLost, Transient
from sluice.stage.assignment import Assignment
from sluice.stage.delivery import Delivery
from sluice.stage.faults import ResolvedBy, StageFaults
from sluice.stage.group import ConsumerLost, GroupReader, Unreadable
from sluice.stage.process import Process
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

STANDSTILL = "standstill"
FENCED = "fenced"
FENCED_OFTEN = 3
FENCED_WITHIN_S = 300.0
# What an input topic alone has wrong is tried again so often; the others are offered twice then.
TOPIC_RESTS_S = 5.0
BATCH_BYTES_MIN = 64 * 1024
WAIT_MIN_S = 0.1
WAIT_MAX_S = 5.0
ASKED_WAIT_MAX_S = 30.0

log = structlog.get_logger()


class Fences:
    """When we were fenced. Once, that is a successor; again and again, another process has our name."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=FENCED_OFTEN)

    def saw(self, now_s: float) -> bool:
        """Note a fence; True if it was `often`."""
        self._at.append(now_s)
        return self.often(now_s)

    def often(self, now_s: float) -> bool:
        return len(self._at) == FENCED_OFTEN and now_s - self._at[0] < FENCED_WITHIN_S


class Pace:
    """`batch_bytes` is what a batch is cut at, `batch_bytes_max` at most."""

    def __init__(self, batch_bytes_max: int) -> None:
        self.batch_bytes = self._batch_bytes_max = batch_bytes_max
        self._wait_s = 0.0

    def delivered(self) -> None:
        self.batch_bytes = min(self._batch_bytes_max, self.batch_bytes + BATCH_BYTES_MIN)

    def turned(self) -> None:
        """A turn came around without an error."""
        self._wait_s = 0.0

    def halve(self) -> None:
        """The batch may have been too large for what it met."""
        self.batch_bytes = max(BATCH_BYTES_MIN, self.batch_bytes // 2)

    def wait(self, stop: Stop, asked_s: float | None = None) -> None:
        """Wait as long as was asked for, or twice as long as the last time; the stop signal cuts it short."""
        self._wait_s = min(WAIT_MAX_S, max(WAIT_MIN_S, self._wait_s * 2))
        stop.wait(min(asked_s or self._wait_s, ASKED_WAIT_MAX_S))


class Recovery:
    """A membership of the group and a producer, renewed when one of them is lost."""

    def __init__(
        self,
        reader: GroupReader,
        delivery: Delivery,
        process: Process,
        assignment: Assignment,
        pace: Pace,
        health: Health,
        faults: StageFaults,
    ) -> None:
        self._reader = reader
        self._delivery = delivery
        self._process = process
        self._assignment = assignment
        self._pace = pace
        self._health = health
        self._faults = faults
        self._fences = Fences()

    def join(self, stop: Stop) -> None:
        """Fence whoever delivered before and join the group, as often as it takes."""
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
                self._not_now("not now", error, ResolvedBy(joining=True))
            except EnvironmentFault as error:
                self._faults.failed(error.where, str(error), ResolvedBy(joining=True), time.monotonic())
            self._pace.wait(stop)
            self._faults.waiting_to_join(time.monotonic())

    def guarded(self, act: Callable[[], None], stop: Stop) -> None:
        """Do `act`; on an error with a policy, follow it. Anything else comes through.

        Raises Bug for a DeadRecord: nobody can tell any more which record that is.
        """
        try:
            act()
            if not self._fences.often(time.monotonic()):
                self._health.resolve(FENCED)
            self._pace.turned()
        except TransactionLost as error:
            self._not_now("transaction lost; fencing again", error, self._assignment.under_way())
            if isinstance(error, Fenced) and self._fences.saw(time.monotonic()):
                self._health.fault(FENCED, str(self._rival(error)))
            self._pace.halve()
            self._begin_anew(stop)
        except ConsumerLost as error:
            self._not_now("membership lost; joining again", error, self._assignment.under_way())
            self._begin_anew(stop)
        except Transient as error:
            under_way = self._assignment.under_way()
            self._not_now("not now; same records again", error, under_way)
            self._pace.halve()
            self._offer_again(under_way)
            self._pace.wait(stop, error.retry_after_s)
        except DeadRecord as error:
            raise Bug(f"a record was called dead where none can be parked: {error}") from error
        except EnvironmentFault as error:
            under_way = self._assignment.under_way()
            debt = ResolvedBy(read=frozenset([error.at])) if isinstance(error, Unreadable) else under_way
            self._faults.failed(error.where, str(error), debt, time.monotonic())
            if isinstance(error, TopicFault):
                self._assignment.rest(error.topic, TOPIC_RESTS_S)
            self._offer_again(under_way)
            self._pace.wait(stop)
        self._faults.review(self._assignment.places(), time.monotonic())

    def _not_now(self, told: str, error: Transient, debt: ResolvedBy) -> None:
        why = f"nothing goes on: {error}. Next: look at what this names; it is tried again by itself"
        if self._faults.failed(STANDSTILL, why, debt, time.monotonic(), passing=True):
            log.warning(told, why=str(error))

    def _begin_anew(self, stop: Stop) -> None:
        """Every partition is begun again, from what is durable."""
        self._process.dropped()
        self._assignment.leave()
        self._pace.wait(stop)
        self.join(stop)

    def _offer_again(self, under_way: ResolvedBy) -> None:
        self._process.dropped()
        self._assignment.rewind()
        if under_way.nothing:
            # Only a delivery can show that it works again, and nothing may come that makes one.
            self._assignment.look_again()

    def _rival(self, error: Fenced) -> EnvironmentFault:
        instance = self._reader.instance
        return EnvironmentFault(
            f"transactional id {error.transactional_id}",
            f"fenced {FENCED_OFTEN} times within {FENCED_WITHIN_S:.0f} s: another process runs with "
            f"SLUICE_INSTANCE={instance}, and the two take the id from each other",
            "stop one of them, or give it an instance of its own",
        )
