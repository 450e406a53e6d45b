"""The two periodic tasks of a followed source. They have a thread and a connection of their own.

The heartbeat moves the slot. Without it, a busy server whose followed tables are
idle would keep its log until the disk is full. The watch checks the catalogs and reads operators' requests. Without it,
a change that is not in the log would stay unnoticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from sluice.cdc.connection import Connection, connect, query
from sluice.cdc.slots import in_recovery
from sluice.errors import fault_text, log_text
from sluice_ingress_cdc.catalog_check import CatalogCheck
from sluice_ingress_cdc.publisher import SnapshotRequests
from sluice_ingress_cdc.session_context import SessionContext

log = structlog.get_logger()


class WatchResults(NamedTuple):
    """The newest results of the watch; None if there is no new one. `promoted`: the source was a standby when the watch
    began, and is none any more."""

    catalogs: CatalogCheck | None = None
    requests: SnapshotRequests | None = None
    promoted: bool = False


class PeriodicTasks:
    """Runs the tasks between `start` and `close`. A task that fails is a fault until it succeeds. A failed
    task does not stop the stream.

    `check`: checks the catalogs on a connection. `standby`: whether the source was a standby when the stream started.
    """

    def __init__(self, context: SessionContext, check: Callable[[Connection], CatalogCheck], *, standby: bool) -> None:
        self._slot = context.slot
        self._publisher = context.publisher
        self._check = check
        self._health = context.health
        self._tasks: list[tuple[str, float, Callable[[], None]]] = [
            ("heartbeat", context.slot.heartbeat_s, self._heartbeat),
            ("watch", context.settings.watch_interval_s, self._watch),
        ]
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._check_now = False
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=f"periodic tasks {context.slot.source}", daemon=True)
        self._results = WatchResults()
        self._was_standby = standby
        self._results_lock = threading.Lock()

    def start(self) -> None:
        self._thread.start()

    def take_results(self) -> WatchResults:
        """The results of the watch since the last call. The caller must apply them."""
        with self._results_lock:
            results, self._results = self._results, WatchResults(promoted=self._results.promoted)
        return results

    def close(self) -> None:
        """End the thread and resolve its faults. Waits at most 1 s: a running call ends by its own deadline."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        for name, _, _ in self._tasks:
            self._health.resolve(self._about(name))

    def check_soon(self) -> None:
        """Check the catalogs now, not after the rest of the interval."""
        self._check_now = True
        self._wake.set()

    def _run(self) -> None:
        due_at = {name: time.monotonic() + interval_s for name, interval_s, _ in self._tasks}
        while not self._closed.is_set():
            self._wake.wait(max(0.0, min(due_at.values()) - time.monotonic()))
            self._wake.clear()
            if self._closed.is_set():
                break
            if self._check_now:
                self._check_now, due_at["watch"] = False, 0.0
            for name, interval_s, task in self._tasks:
                if time.monotonic() >= due_at[name]:
                    self._do(name, task)
                    due_at[name] = time.monotonic() + interval_s
        self._disconnect()

    def _do(self, name: str, task: Callable[[], None]) -> None:
        about = self._about(name)
        try:
            task()
        except Exception as error:
            # Any error is caught: the tasks must go on, and the fault reports that this task fails.
            self._disconnect()
            if self._closed.is_set():
                return
            if self._health.faults.get(about) != fault_text(error):
                log.warning("periodic task failed", task=name, source=self._slot.source, why=log_text(error))
            self._health.fault(about, fault_text(error))
        else:
            self._health.resolve(about)

    def _heartbeat(self) -> None:
        query(self._live(), "heartbeat", self._about("heartbeat"))

    def _watch(self) -> None:
        requests = self._publisher.requests(self._slot.tables)
        with self._results_lock:
            self._results = self._results._replace(requests=requests)
        recovering = in_recovery(self._live(), self._about("watch"))
        self._was_standby = self._was_standby or recovering
        with self._results_lock:
            self._results = self._results._replace(promoted=self._was_standby and not recovering)
        catalogs = self._check(self._live())
        with self._results_lock:
            self._results = self._results._replace(catalogs=catalogs)

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
