"""What the loop does about an error, by its kind: wait, offer the same records again, or join anew."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from sluice.errors import Bug, DeadRecord, EnvironmentFault, TransactionLost, Transient
from sluice.stage.assignment import Assignment
from sluice.stage.delivery import Delivery
from sluice.stage.group import ConsumerLost, GroupReader
from sluice.stage.pace import Pace
from sluice.stage.process import Process
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health

ENVIRONMENT = "environment"

log = structlog.get_logger()


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
            self._pace.turned()
        except TransactionLost as error:
            log.warning("transaction lost; fencing again", why=str(error))
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

    def _tell(self, error: EnvironmentFault) -> None:
        self._health.fault(ENVIRONMENT, str(error))
        log.error(ENVIRONMENT, where=error.where, why=error.why, next=error.next_step)
