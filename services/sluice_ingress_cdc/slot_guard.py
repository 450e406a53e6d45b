"""Watches the slot of a source as long as the stage runs, also while no session follows it: the log that the server
keeps for it, and its progress. It has a thread and a connection of its own.

A slot that is not read keeps the source's log until the disk of the source is full, and then the source stops. This
must be noticed while Kafka is down or a session fails, so the guard does not depend on a session.
"""

from __future__ import annotations

import threading
import time

import structlog

from sluice.cdc.connection import Connection, connect
from sluice.cdc.slots import drop_slot, slot_state, wal_end
from sluice.errors import EnvironmentFault, Transient, fault_text, log_text
from sluice.telemetry.health import Health
from sluice.telemetry.metrics import BEHIND_SECONDS, RETAINED_WAL_BYTES, SAFE_WAL_BYTES
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings
from sluice_ingress_cdc.slot_progress import SlotProgress, SlotReading, WalLimits, wal_fault

log = structlog.get_logger()


class SlotGuard:
    """Runs between `start` and `close`. `released` is true while the guard drops the slot: the session must end."""

    def __init__(self, slot: SlotSettings, settings: CdcSettings, health: Health) -> None:
        self.released = False
        self._slot = slot
        self._limits = WalLimits(settings.wal_warn_bytes, settings.wal_limit_bytes, settings.wal_limit_action)
        self._interval_s = settings.watch_interval_s
        self._health = health
        self._progress = SlotProgress(settings.stuck_after_s)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"guard {slot.source}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread. Waits at most 1 s: a running call ends by its own deadline."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        for about in (self._about("log"), self._about("progress")):
            self._health.resolve(about)

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._closed.wait(self._interval_s):
            try:
                if connection is None or connection.closed:
                    connection = connect(self._slot.dsn.reveal(), self._slot.where, statement_timeout_s=10.0)
                self._check(connection)
            except (EnvironmentFault, Transient) as error:
                # The session reports that the source does not answer.
                log.debug("slot not checked", source=self._slot.source, why=log_text(error))
                _close(connection)
            except Exception as error:
                # Any other error is caught: the guard must go on, and the fault reports that it fails.
                log.error("slot not checked", source=self._slot.source, why=log_text(error))
                self._report("progress", f"it is not watched: {fault_text(error)}")
                _close(connection)
        _close(connection)

    def _check(self, connection: Connection) -> None:
        slot, where = self._slot, self._slot.where
        state = slot_state(connection, slot.slot, where)
        if state is None or state.lost:
            self._progress.reset()
            for about in (self._about("log"), self._about("progress")):
                self._health.resolve(about)
            return
        reading = SlotReading(time.monotonic(), wal_end(connection, where), state)
        RETAINED_WAL_BYTES.labels(slot.source).set(reading.retained_bytes)
        SAFE_WAL_BYTES.labels(slot.source).set(float("inf") if state.safe_wal_bytes is None else state.safe_wal_bytes)
        stuck = self._progress.add(reading)
        BEHIND_SECONDS.labels(slot.source).set(self._progress.behind_s)
        self._report("progress", stuck)
        why = wal_fault(slot.slot, reading, self._limits)
        self._report("log", why)
        if self._limits.releases(reading):
            self._release(connection, reading)

    def _release(self, connection: Connection, reading: SlotReading) -> None:
        log.error("slot is dropped to save the source", source=self._slot.source, retained_bytes=reading.retained_bytes)
        self.released = True
        try:
            drop_slot(connection, self._slot.slot, self._slot.where)
        finally:
            self.released = False

    def _report(self, name: str, why: str) -> None:
        if why:
            self._health.fault(self._about(name), f"{self._about(name)}: {why}")
        else:
            self._health.resolve(self._about(name))

    def _about(self, name: str) -> str:
        return f"{self._slot.where}, {name} of slot {self._slot.slot}"


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()
