"""What a followed slot needs beside its stream, on a thread and a connection of its own: heartbeats, the gauge of
retained WAL, and a look whether an operator asked for a new snapshot.

Idle tables would otherwise pin the log of a busy server until its disk is full.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from sluice.errors import EnvironmentFault, Transient
from sluice.postgres.slots import rows, slot_state, wal_end
from sluice.postgres.source_connection import Connection, connect
from sluice.telemetry.metrics import RETAINED_WAL_BYTES
from sluice_ingress_cdc.settings import SlotSettings

# Looking at the control topic opens a reader of its own: not at every heartbeat.
REQUEST_EVERY_S = 5.0

log = structlog.get_logger()


class Upkeep:
    """Runs between `start` and `close`. A fault is logged once and tried again: it never stops the stream."""

    def __init__(self, slot: SlotSettings, requested_epoch: Callable[[], int], epoch: int) -> None:
        self._slot = slot
        self._requested_epoch = requested_epoch
        self._epoch = epoch
        self._ended = threading.Event()
        self._connection: Connection | None = None
        self._fault = ""
        self._look_at = 0.0
        self.resnapshot_requested = False
        self._thread = threading.Thread(target=self._run, name=f"upkeep {slot.source}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """The thread may still be in a call with a deadline of its own; nothing waits for that."""
        self._ended.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._ended.wait(self._slot.heartbeat_s):
            try:
                self._beat()
                self._fault = ""
            except (EnvironmentFault, Transient) as fault:
                self._disconnect()
                if str(fault) != self._fault:
                    self._fault = str(fault)
                    log.warning("no heartbeat", source=self._slot.source, why=self._fault)
        self._disconnect()

    def _beat(self) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + REQUEST_EVERY_S
            self.resnapshot_requested = self.resnapshot_requested or self._requested_epoch() > self._epoch
        where = f"{self._slot.where}, heartbeat"
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._slot.dsn.reveal(), where, statement_timeout_s=10.0)
        rows(self._connection, "heartbeat", where)
        state = slot_state(self._connection, self._slot.slot, where)
        if state is not None:
            RETAINED_WAL_BYTES.labels(self._slot.source).set(wal_end(self._connection, where) - state.restart_lsn)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
