"""A Kafka Connect worker with its connectors, as the harness sees a contestant that runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from bench.connect.worker import ConnectWorker
from bench.contestant import Running
from sluice.embedded import processes
from sluice.embedded.layout import Layout
from sluice.errors import EnvironmentFault

CHECK_EVERY_S = 5.0
STOP_WITHIN_S = 20.0


def started_worker(folder: Path, bootstrap_servers: str) -> ConnectWorker:
    """A new worker, whose files are in `folder`. Blocks until it answers."""
    worker = ConnectWorker(Layout.of(folder), bootstrap_servers)
    worker.start(detach=False, cancelled=threading.Event())
    return worker


class ConnectRunning(Running):
    """Connectors that run in a worker. `pause` and `resume` leave the worker running, so that it stays warm.

    `keeps_worker`: `stop` leaves the worker running, too. It then ends with the harness.
    """

    def __init__(
        self, worker: ConnectWorker, connectors: Mapping[str, Mapping[str, object]], keeps_worker: bool = False
    ) -> None:
        super().__init__(list, worker.layout.servers)  # nothing to spawn: the worker runs already
        self._worker, self._connectors, self._keeps_worker = worker, list(connectors), keeps_worker
        self._checked_at = time.monotonic()
        try:
            for name, settings in connectors.items():
                worker.run(name, settings)
        except BaseException:
            self.stop()
            raise

    def resume(self) -> None:
        for name in self._connectors:
            self._worker.resume(name)

    def pause(self) -> None:
        for name in self._connectors:
            self._worker.pause(name)

    def stop(self) -> None:
        if self._keeps_worker:
            for name in self._connectors:
                self._worker.remove(name)
        else:
            self._worker.stop(self._worker.layout, STOP_WITHIN_S)

    def pids(self) -> list[int]:
        return [self._worker.started.pid] if self._worker.started else []

    def died(self) -> str:
        if self._worker.started is None or not processes.is_alive(self._worker.started):
            return f"the Kafka Connect worker ended; {self.last_lines()}"
        if time.monotonic() - self._checked_at < CHECK_EVERY_S:  # an answer costs the worker processor time
            return ""
        self._checked_at = time.monotonic()
        try:
            for name in self._connectors:
                self._worker.states(name)
        except EnvironmentFault as fault:
            return str(fault)
        return ""
