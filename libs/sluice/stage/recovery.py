"""What the loop does about an error, by its kind: wait, offer the same records again, or join anew."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import structlog

from sluice.errors import Bug, DeadRecord, EnvironmentFault, Fenced, TransactionLost, Transient
from sluice.stage.assignment import Assignment
from sluice.stage.delivery import Delivery
from sluice.stage.group import ConsumerLost, GroupReader
from sluice.stage.pace import Pace
from sluice.stage.process import Process
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

ENVIRONMENT = "environment"
FENCED = "fenced"
FENCED_OFTEN = 3
FENCED_WITHIN_S = 300.0

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
    ) -> None:
        self._reader = reader
        self._delivery = delivery
        self._process = process
        self._assignment = assignment
        self._pace = pace
        self._health = health
        self._fences = Fences()

    def join(self, stop: Stop) -> None:
        """Fence whoever delivered before and join the group, as often as it takes."""
        while not stop.requested:
            self._health.progress()
            try:
                self._delivery.open()
                self._reader.open()
                self._health.started()
                log.info("started", group=self._reader.group)
                return
            except Transient as error:
                log.warning("not now", why=str(error))
            except EnvironmentFault as error:
                self._tell(error)
            self._pace.wait(stop)

    def guarded(self, act: Callable[[], None], stop: Stop) -> None:
        """Do `act`; on an error with a policy, follow it. Anything else comes through.

        Raises Bug for a DeadRecord: nobody can tell any more which record that is.
        """
        try:
            act()
            self._health.mend(ENVIRONMENT)
            if not self._fences.often(time.monotonic()):
                self._health.mend(FENCED)
            self._pace.turned()
        except TransactionLost as error:
            log.warning("transaction lost; fencing again", why=str(error))
            if isinstance(error, Fenced) and self._fences.saw(time.monotonic()):
                self._tell(self._rival(error), FENCED)
            self._pace.halve()
            self._begin_anew(stop)
        except ConsumerLost as error:
            log.warning("membership lost; joining again", why=str(error))
            self._begin_anew(stop)
        except Transient as error:
            log.warning("not now; same records again", why=str(error))
            self._pace.halve()
            self._offer_again()
            self._pace.wait(stop, error.retry_after_s)
        except DeadRecord as error:
            raise Bug(f"a record was called dead where none can be parked: {error}") from error
        except EnvironmentFault as error:
            self._tell(error)
            self._offer_again()
            self._pace.wait(stop)

    def _begin_anew(self, stop: Stop) -> None:
        """Every partition is begun again, from what is durable."""
        self._process.dropped()
        self._assignment.leave()
        self._pace.wait(stop)
        self.join(stop)

    def _offer_again(self) -> None:
        self._process.dropped()
        self._assignment.rewind()

    def _rival(self, error: Fenced) -> EnvironmentFault:
        instance = self._reader.instance
        return EnvironmentFault(
            f"transactional id {error.transactional_id}",
            f"fenced {FENCED_OFTEN} times within {FENCED_WITHIN_S:.0f} s: another process runs with "
            f"SLUICE_INSTANCE={instance}, and the two take the id from each other",
            "stop one of them, or give it an instance of its own",
        )

    def _tell(self, error: EnvironmentFault, kind: str = ENVIRONMENT) -> None:
        self._health.fault(kind, str(error))
        log.error(kind, where=error.where, why=error.why, next=error.next_step)
