"""Follows one source as long as the stage runs. A session runs until an error; then the next session starts.

Every error except a bug is reported as a fault, and the next session starts after a wait. An error of one table blocks
that table alone (`table_changes`).
"""

from __future__ import annotations

import random
import time

from sluice.cdc.converter import RegisterSchema
from sluice.cdc.source_errors import source_errors
from sluice.errors import EnvironmentFault, Transient
from sluice.names import Names
from sluice.stage.signals import Stop
from sluice.telemetry.health import Health
from sluice_ingress_cdc.publisher import SlotPublisher
from sluice_ingress_cdc.session import run_session
from sluice_ingress_cdc.session_context import SessionContext
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings
from sluice_ingress_cdc.slot_guard import SlotGuard

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0


class Follower:
    """Follows one source; `run` needs a thread of its own. `progress_at`: the time of the last progress
    (monotonic seconds)."""

    def __init__(self, slot: SlotSettings, names: Names, settings: CdcSettings, health: Health) -> None:
        self.where = slot.where
        self._recheck_interval_s = settings.recheck_interval_s
        self._health = health
        self.publisher = SlotPublisher(slot.source, settings.kafka, names)
        self._guard = SlotGuard(slot, settings, health)
        self._context = SessionContext(slot, names, settings, health, self.publisher, self._progress, self._streaming)
        self._context.slot_is_released = lambda: self._guard.released
        if "avro" in (slot.form.key_encoding, slot.form.value_encoding):
            self._context.register = _registration(settings)
        self._backoff_s = BACKOFF_FIRST_S
        self._stop = Stop()
        self.progress_at = time.monotonic()

    def run(self, stop: Stop) -> None:
        """Follow the source until `stop` is requested. Only a bug is raised."""
        self._stop = stop
        self._health.starting(self.where)
        self._guard.start()
        try:
            while not stop.requested:
                self._progress()
                try:
                    with source_errors(self.where):
                        run_session(self._context, stop)
                except EnvironmentFault as fault:
                    self._not_ready(fault, self._recheck_interval_s)
                except Transient as error:
                    self._not_ready(error, self._next_backoff(error))
        finally:
            self._guard.close()
            self.publisher.close()

    def _streaming(self) -> None:
        self._health.resolve(self.where)
        self._backoff_s = BACKOFF_FIRST_S

    def _progress(self) -> None:
        self.progress_at = time.monotonic()

    def _next_backoff(self, error: Transient) -> float:
        wait_s = error.retry_after_s or self._backoff_s
        self._backoff_s = min(BACKOFF_MAX_S, self._backoff_s * 2)
        return wait_s * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, guards nothing

    def _not_ready(self, error: EnvironmentFault | Transient, wait_s: float) -> None:
        self._health.fault(self.where, str(error))
        self._progress()
        self._stop.wait(wait_s)


def _registration(settings: CdcSettings) -> RegisterSchema:
    from sluice.schemas import Registry  # only sources with Avro need the registry and its HTTP client

    return Registry(settings.registry.url, settings.state_dir / "schemas").registered_id
