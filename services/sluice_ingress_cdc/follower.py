"""One source followed for as long as the stage runs: a session from each start to the next error, and again.

Every error but a bug is told, waited for and tried again. What concerns one table only holds that table alone
(`judgement`).
"""

from __future__ import annotations

import random
import time

import psycopg

from sluice.cdc.faults import translate
from sluice.errors import EnvironmentFault, Transient
from sluice.names import Names
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.session import Around, Stopped, run_session
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0


class Follower:
    """`run` it on a thread of its own. `turned_at` (monotonic seconds): when it last showed progress."""

    def __init__(self, slot: SlotSettings, names: Names, settings: CdcSettings, health: Health) -> None:
        self._slot = slot
        self.where = slot.where
        self._settings = settings
        self._health = health
        self.publisher = SlotPublisher(slot.source, settings.kafka, names)
        self._around = Around(
            slot, names, settings, health, self.publisher, self._turned, self._going_on, self._streaming
        )
        self._backoff_s = BACKOFF_FIRST_S
        self._stop = Stop()
        self.turned_at = time.monotonic()

    def run(self, stop: Stop) -> None:
        """Until stopped. Only a bug gets out."""
        self._stop = stop
        self._health.starting(self._slot.where)
        try:
            while not stop.requested:
                self._turned()
                try:
                    run_session(self._around, stop)
                except Stopped:
                    return
                except EnvironmentFault as fault:
                    self._not_ready(fault, stop, self._settings.recheck_interval_s)
                except Transient as error:
                    self._not_ready(error, stop, self._next_backoff(error))
                except psycopg.Error as error:
                    ours = translate(error, self._slot.where)
                    if not isinstance(ours, EnvironmentFault | Transient):
                        raise ours from None
                    self._not_ready(ours, stop, self._settings.recheck_interval_s)
        finally:
            self.publisher.close()

    def _streaming(self) -> None:
        self._health.resolve(self._slot.where)
        self._backoff_s = BACKOFF_FIRST_S

    def _turned(self, waits_s: float = 0.0) -> None:
        """Progress; or a wait begins that ends within `waits_s`."""
        self.turned_at = time.monotonic() + waits_s

    def _going_on(self, waits_s: float = 0.0) -> None:
        """As `_turned`; raises Stopped if the stage is to stop."""
        self._turned(waits_s)
        if self._stop.requested:
            raise Stopped

    def _next_backoff(self, error: Transient) -> float:
        wait_s = error.retry_after_s or self._backoff_s
        self._backoff_s = min(BACKOFF_MAX_S, self._backoff_s * 2)
        return wait_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, guards nothing

    def _not_ready(self, error: EnvironmentFault | Transient, stop: Stop, wait_s: float) -> None:
        """Not ready for this reason; wait."""
        self._health.fault(self._slot.where, str(error))
        self._turned()
        stop.wait(wait_s)
