"""What a followed source needs beside its stream, on a thread and a connection of its own: heartbeats, the gauge of
retained WAL, looks at what is followed, and at what an operator asked for.

Idle tables would otherwise pin the log of a busy server until its disk is full; and of most of what is done to a table
the log says nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from sluice.cdc.connection import Connection, connect
from sluice.cdc.slots import rows, slot_state, wal_end
from sluice.errors import fault_text, log_text
from sluice.telemetry.health import Health
from sluice.telemetry.metrics import RETAINED_WAL_BYTES
from sluice_ingress_cdc.observation import Look
from sluice_ingress_cdc.settings import SlotSettings

Requests = tuple[int, Mapping[str, int]]
"""The epoch asked for, and by table the number of the newest request."""

log = structlog.get_logger()


class Upkeep:
    """Runs between `start` and `close`. A fault is told until the same thing works again; it never stops the stream.

    `look` and `requests` are the newest of their kind; `look_again` and `ask` get them.
    """

    def __init__(
        self,
        slot: SlotSettings,
        watch_interval_s: float,
        look_again: Callable[[Connection], Look],
        ask: Callable[[], Requests],
        health: Health,
    ) -> None:
        self._slot = slot
        self._look_again = look_again
        self._ask = ask
        self._health = health
        self._duties: list[tuple[str, float, Callable[[], None]]] = [
            ("heartbeat", slot.heartbeat_s, self._beat),
            ("watch", watch_interval_s, self._watch),
        ]
        self._ended = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=f"upkeep {slot.source}", daemon=True)
        self.look: Look | None = None
        self.requests: Requests | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """The thread may still be in a call with a deadline of its own; nothing waits for that."""
        self._ended.set()
        self._thread.join(timeout=1.0)
        for name, _, _ in self._duties:
            self._health.resolve(self._about(name))

    def _run(self) -> None:
        due_at = {name: time.monotonic() + every_s for name, every_s, _ in self._duties}
        while not self._ended.wait(max(0.0, min(due_at.values()) - time.monotonic())):
            for name, every_s, duty in self._duties:
                if time.monotonic() >= due_at[name]:
                    self._do(name, duty)
                    due_at[name] = time.monotonic() + every_s
        self._disconnect()

    def _do(self, name: str, duty: Callable[[], None]) -> None:
        about = self._about(name)
        try:
            duty()
        except Exception as error:
            # Whatever it is: looking must go on, and that it does not is told.
            self._disconnect()
            if self._ended.is_set():
                return
            if self._health.faults.get(about) != fault_text(error):
                log.warning(f"no {name}", source=self._slot.source, why=log_text(error))
            self._health.fault(about, fault_text(error))
        else:
            self._health.resolve(about)

    def _beat(self) -> None:
        connection, where = self._live(), self._about("heartbeat")
        rows(connection, "heartbeat", where)
        state = slot_state(connection, self._slot.slot, where)
        if state is not None:
            RETAINED_WAL_BYTES.labels(self._slot.source).set(wal_end(connection, where) - state.restart_lsn)

    def _watch(self) -> None:
        self.requests = self._ask()
        self.look = self._look_again(self._live())

    def _about(self, name: str) -> str:
        return f"{self._slot.where}, {name}"

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._slot.dsn.reveal(), self._slot.where, statement_timeout_s=10.0)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
