"""Health as two questions: is the process making progress (`/healthz`), and can it work now (`/readyz`)?

Liveness depends on neither Kafka nor Postgres nor lag: restarting a process never mends those.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

STALLED_AFTER_S = 60.0
STARTING = "starting"
START = "start"
PROCESS = "process"
LOOP = "loop"
PLACES_MAX = 4

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
    """A record, of which faults name the place."""

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
        self._record: Placed | None = None
        self._loop: int | None = None

    def watched(self) -> None:
        """The calling thread is the loop that `watch` looks after."""
        self._loop = threading.get_ident()
        self.progress()

    def progress(self) -> None:
        """The loop came around; waiting with a deadline counts, hanging does not."""
        self._progress_at = time.monotonic()
        if LOOP in self._standing:
            self.mend(LOOP)

    def processing(self, record: Placed | None) -> None:
        """The loop goes on to `record`, for `watch`; None: it has done the one before."""
        self._record = record
        self.progress()

    def watch(self) -> None:
        """Called by another thread again and again: a loop that hangs cannot say so itself."""
        stalled_s, record, loop = self.stalled_s, self._record, self._loop
        if loop is None or stalled_s < self._stalled_after_s or LOOP in self._standing:
            return
        since = datetime.fromtimestamp(time.time() - stalled_s, UTC).isoformat(timespec="seconds")
        about, next_step = "the stage waits", "see that Kafka and Postgres answer; if they do, start the stage again"
        if record is not None:
            about = f"record {record.place} is processed and does not end"
            next_step = "mend what never ends there, and start the stage again"
        self.fault(LOOP, f"no progress since {since}: {about}, at {innermost_places(loop)}. Next: {next_step}")

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


def innermost_places(thread: int) -> str:
    """Where the thread of this number stands now: file and line of its innermost calls, the innermost first."""
    frame = sys._current_frames().get(thread)
    calls = list(traceback.walk_stack(frame))[:PLACES_MAX]
    places = (f"{'/'.join(Path(one.f_code.co_filename).parts[-3:])}:{line}" for one, line in calls)
    return ", called at ".join(places) or "a place that is not known"


def _now_us() -> int:
    return time.time_ns() // 1_000
