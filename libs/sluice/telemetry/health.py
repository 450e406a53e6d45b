"""The health of a process: whether it makes progress (`/healthz`), and whether it can work now (`/readyz`).

`/healthz` does not depend on Kafka, Postgres or lag, because a restart of the process fixes none of them.
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
    """A fault that is not resolved. `why`: its text, with the next step. `since_us`: when it began (Unix µs).
    `attempts`: how many times in a row the operation has failed, 0 if this is not counted."""

    why: str
    since_us: int
    attempts: int = 0

    @property
    def is_failure(self) -> bool:
        """False if the subject is only starting: then the process is not ready, but nothing is wrong."""
        return self.why != STARTING


FaultListener = Callable[[str, ActiveFault | None], None]
"""A function that is called when a fault changes: with its subject, and the fault, or None if the fault is resolved. It
must not block."""


class Health:
    """The active faults of a process and the progress of its loop. The loop writes them, the HTTP server reads them;
    thread-safe.

    `on_change` is called for each new, changed or resolved fault. A fault is active until `resolve` is called with the
    same subject. Call `resolve` only when an operation on this very subject has succeeded.
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
        """Called by the stage's loop at its start. From now on, `watch` checks that the calling thread makes
        progress."""
        self._loop = threading.get_ident()
        self.progress()

    def progress(self) -> None:
        """Called by the stage's loop before each turn, for each record and after each delivery. A loop that does not
        call this hangs."""
        self._progress_at = time.monotonic()
        if LOOP in self._active:
            self.resolve(LOOP)

    def processing(self, record: Record | None) -> None:
        """Called when the stage's loop starts to process `record`, and with None when it has finished."""
        self._record = record
        self.progress()

    def watch(self) -> None:
        """Report a stage's loop that makes no progress as a fault. A thread other than the loop's calls this, because a
        loop that hangs cannot report itself."""
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
        """Report that the subject `about` is starting. The process is not ready until `resolve(about)`, but this is no
        failure."""
        self.fault(about, STARTING)

    def started(self) -> None:
        self.resolve(START)

    def fault(self, about: str, why: str, attempts: int = 0) -> None:
        """Report an active fault: the process is not ready until `resolve(about)` is called. Each new `why` is logged
        once.

        `about`: the subject, a part of the pipeline (a table, a stream, a partition); it is a label of a metric.
        `attempts`: how many times in a row the operation has failed so far, 0 if this is not counted.
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
        if now.is_failure and about != PROCESS:  # the code that ends the process logs this fault
            log.error("fault", about=about, why=why)

    def resolve(self, about: str) -> None:
        """Called when an operation on the subject `about` succeeded: its fault, if there is one, is resolved."""
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
        """The text of each active fault, by its subject. The process is ready if there is none."""
        return {about: one.why for about, one in self.active.items()}

    @property
    def active(self) -> dict[str, ActiveFault]:
        with self._lock:
            return dict(self._active)


def innermost_places(thread: int) -> str:
    """The file and line of the innermost function calls of a running thread, the innermost first. `thread`: its id."""
    frame = sys._current_frames().get(thread)
    calls = list(traceback.walk_stack(frame))[:PLACES_MAX]
    places = (f"{'/'.join(Path(one.f_code.co_filename).parts[-3:])}:{line}" for one, line in calls)
    return ", called at ".join(places) or "an unknown place"
