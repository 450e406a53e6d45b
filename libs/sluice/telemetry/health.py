"""Health as two questions: is the process making progress (`/healthz`), and can it work now (`/readyz`)?

Liveness depends on neither Kafka nor Postgres nor lag: restarting a process never mends those.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import structlog

STALLED_AFTER_S = 60.0
STARTING = "starting"
START = "start"
PROCESS = "process"
LOOP = "loop"

log = structlog.get_logger()


class Standing(NamedTuple):
    """A fault that stands: `why` (with the next step), since when (Unix µs), and how many times in a row something was
    tried, 0 where nobody counts."""

    why: str
    since_us: int
    attempts: int = 0

    @property
    def alarm(self) -> bool:
        """Whether it is worth an alarm: whoever only starts has found nothing wrong yet."""
        return self.why != STARTING


class Placed(Protocol):
    """What a loop works on and can be found again: a record."""

    @property
    def place(self) -> str: ...


Told = Callable[[str, Standing | None], None]
"""Called with what a fault is about, and the fault; None when it ended. Must not block."""


def _nobody(about: str, standing: Standing | None) -> None:
    return


class Health:
    """Told by the loop, asked by the HTTP server; thread-safe. `told` hears each fault that is new, changed or over.

    A fault stands until what it is about succeeds: who calls `mend` knows that this succeeded, not something beside it.
    """

    def __init__(self, stalled_after_s: float = STALLED_AFTER_S, told: Told = _nobody) -> None:
        self._stalled_after_s = stalled_after_s
        self._progress_at = time.monotonic()
        self._told = told
        self._standing = {START: Standing(STARTING, _now_us())}
        self._lock = threading.Lock()
        self.doing: Placed | None = None
        """The record that the loop is processing, for `watch`; None between records."""

    def progress(self) -> None:
        """The loop came around; waiting with a deadline counts, hanging does not."""
        self._progress_at = time.monotonic()
        if LOOP in self._standing:
            self.mend(LOOP)

    def watch(self) -> None:
        """Called by another thread: a loop that makes no progress cannot say so itself."""
        stalled_s, doing = self.stalled_s, self.doing
        if stalled_s < self._stalled_after_s or LOOP in self._standing:
            return
        since = datetime.fromtimestamp(time.time() - stalled_s, UTC).isoformat(timespec="seconds")
        at = f", which processes record {doing.place}" if doing is not None else ""
        self.fault(
            LOOP,
            f"no progress since {since}: one step of the stage{at}, does not end. "
            "Next: if a mapping may loop for ever on this record, mend it; then start the stage again",
        )

    def starting(self, about: str) -> None:
        """Not ready because `about` only begins, which is no alarm."""
        self.fault(about, STARTING)

    def started(self) -> None:
        self.mend(START)

    def fault(self, about: str, why: str, attempts: int = 0) -> None:
        """Not ready because of `about`, until `mend(about)`. A new cause is one line of the log, however often told.

        `about` names a thing of the pipeline (a table, a stream, a partition): it labels a metric. `attempts`: how many
        times in a row it was tried by now.
        """
        with self._lock:
            before = self._standing.get(about)
            if before is not None and (before.why, before.attempts) == (why, attempts):
                return
            since_us = before.since_us if before is not None and before.alarm else _now_us()
            now = self._standing[about] = Standing(why, since_us, attempts)
            self._told(about, now)
            if before is not None and before.why == why:
                return
        if now.alarm and about != PROCESS:  # how we end is told by whoever ends us
            log.error("fault", about=about, why=why)

    def mend(self, about: str) -> None:
        """What the fault is about succeeded."""
        with self._lock:
            before = self._standing.pop(about, None)
            if before is None:
                return
            self._told(about, None)
        if before.alarm:
            log.info("fault over", about=about, stood_s=round((_now_us() - before.since_us) / 1e6, 1))

    @property
    def stalled_s(self) -> float:
        return time.monotonic() - self._progress_at

    @property
    def alive(self) -> bool:
        return self.stalled_s < self._stalled_after_s

    @property
    def faults(self) -> dict[str, str]:
        """Why we are not ready, by what it is about."""
        return {about: one.why for about, one in self.standing.items()}

    @property
    def standing(self) -> dict[str, Standing]:
        with self._lock:
            return dict(self._standing)


def _now_us() -> int:
    return time.time_ns() // 1_000
