"""Health of a process: does it make progress (`/healthz`), and can it work now (`/readyz`)?

Liveness does not depend on Kafka, Postgres or lag, because a restart of the process fixes none of them.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from sluice.kafka.record import Record
from sluice.times import now_us

STALLED_AFTER_S = 60.0
STARTING = "starting"
START = "start"
PROCESS = "process"
LOOP = "loop"
PLACES_MAX = 4

log = structlog.get_logger()


class ActiveFault(NamedTuple):
    """A fault that is not resolved: `why` (with the next step), since when (Unix µs), and how many times in a row an
    operation was tried, 0 where this is not counted."""

    why: str
    since_us: int
    attempts: int = 0

    @property
    def is_failure(self) -> bool:
        """False while something only starts: the process is not ready, but nothing is wrong."""
        return self.why != STARTING


FaultListener = Callable[[str, ActiveFault | None], None]
"""Called with the subject of a fault, and the fault or None when it is resolved. Must not block."""


class Health:
    """Written by the loop, read by the HTTP server; thread-safe. `on_change` is called for each new, changed or
    resolved fault.

    A fault is active until its subject succeeds: call `resolve` only when this subject succeeded, not another one.
    """

    def __init__(
        self, stalled_after_s: float = STALLED_AFTER_S, on_change: FaultListener = lambda about, fault: None
    ) -> None:
        self._stalled_after_s = stalled_after_s
        self._progress_at = time.monotonic()
        self._on_change = on_change
        self._active = {START: ActiveFault(STARTING, now_us())}
        self._lock = threading.Lock()
        self._record: Record | None = None
        self._loop: int | None = None

    def watched(self) -> None:
        """Called by the loop: `watch` checks the calling thread from now on."""
        self._loop = threading.get_ident()
        self.progress()

    def progress(self) -> None:
        """The loop completed a turn. A wait with a deadline is progress, a hang is not."""
        self._progress_at = time.monotonic()
        if LOOP in self._active:
            self.resolve(LOOP)

    def processing(self, record: Record | None) -> None:
        """The loop starts to process `record`; None: it has finished the last one."""
        self._record = record
        self.progress()

    def watch(self) -> None:
        """Report a loop without progress as a fault. Another thread calls this, because a hanging loop cannot report
        itself."""
        stalled_s, record, loop = self.stalled_s, self._record, self._loop
        if loop is None or stalled_s < self._stalled_after_s or LOOP in self._active:
            return
        since = datetime.fromtimestamp(time.time() - stalled_s, UTC).isoformat(timespec="seconds")
        state, next_step = "the stage waits", "check that Kafka and Postgres answer; if they do, restart the stage"
        if record is not None:
            state = f"the stage still processes record {record.place}"
            next_step = "fix the code that never returns at this place, then restart the stage"
        self.fault(LOOP, f"no progress since {since}: {state}, at {innermost_places(loop)}. Next: {next_step}")

    def starting(self, about: str) -> None:
        """The process is not ready because the subject `about` starts. This is no failure."""
        self.fault(about, STARTING)

    def started(self) -> None:
        self.resolve(START)

    def fault(self, about: str, why: str, attempts: int = 0) -> None:
        """The process is not ready because of the subject `about`, until `resolve(about)`. Each new `why` is logged
        once.

        `about` names a part of the pipeline (a table, a stream, a partition) and is a label of a metric. `attempts`:
        how many times in a row it was tried so far.
        """
        with self._lock:
            before = self._active.get(about)
            if before is not None and (before.why, before.attempts) == (why, attempts):
                return
            since_us = before.since_us if before is not None and before.is_failure else now_us()
            now = self._active[about] = ActiveFault(why, since_us, attempts)
            self._on_change(about, now)
            if before is not None and before.why == why:
                return
        if now.is_failure and about != PROCESS:  # the caller that ends the process logs why
            log.error("fault", about=about, why=why)

    def resolve(self, about: str) -> None:
        """The subject of the fault succeeded."""
        with self._lock:
            before = self._active.pop(about, None)
            if before is None:
                return
            self._on_change(about, None)
        if before.is_failure:
            log.info("fault resolved", about=about, active_s=round((now_us() - before.since_us) / 1e6, 1))

    @property
    def stalled_s(self) -> float:
        return time.monotonic() - self._progress_at

    @property
    def alive(self) -> bool:
        return self.stalled_s < self._stalled_after_s

    @property
    def faults(self) -> dict[str, str]:
        """Why the process is not ready, by subject."""
        return {about: one.why for about, one in self.active.items()}

    @property
    def active(self) -> dict[str, ActiveFault]:
        with self._lock:
            return dict(self._active)


def innermost_places(thread: int) -> str:
    """File and line of the innermost calls of the thread with this id, the innermost first."""
    frame = sys._current_frames().get(thread)
    calls = list(traceback.walk_stack(frame))[:PLACES_MAX]
    places = (f"{'/'.join(Path(one.f_code.co_filename).parts[-3:])}:{line}" for one, line in calls)
    return ", called at ".join(places) or "an unknown place"
