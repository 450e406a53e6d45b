"""Health as two questions: is the process making progress (`/healthz`), and can it work now (`/readyz`)?

Liveness depends on neither Kafka nor Postgres nor lag: restarting a process never mends those.
"""

from __future__ import annotations

import threading
import time

STALLED_AFTER_S = 60.0


class Health:
    """Told by the loop, asked by the HTTP server; thread-safe."""

    def __init__(self, stalled_after_s: float = STALLED_AFTER_S) -> None:
        self._stalled_after_s = stalled_after_s
        self._progress_at = time.monotonic()
        self._faults: dict[str, str] = {"start": "starting"}
        self._lock = threading.Lock()

    def progress(self) -> None:
        """The loop came around; waiting with a deadline counts, hanging does not."""
        self._progress_at = time.monotonic()

    def started(self) -> None:
        self.mend("start")

    def fault(self, where: str, why: str) -> None:
        """Not ready because of `where`, until `mend(where)`."""
        with self._lock:
            self._faults[where] = why

    def mend(self, where: str) -> None:
        with self._lock:
            self._faults.pop(where, None)

    @property
    def stalled_s(self) -> float:
        return time.monotonic() - self._progress_at

    @property
    def alive(self) -> bool:
        return self.stalled_s < self._stalled_after_s

    @property
    def faults(self) -> dict[str, str]:
        with self._lock:
            return dict(self._faults)
