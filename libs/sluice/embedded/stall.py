"""How long to wait for a process that was started: while it makes progress, up to a maximum.

A busy machine takes minutes for work that a quiet one does in seconds. A process that makes no progress is reported
soon on both.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

STALLED_S = 90.0
WAIT_MAX_S = 1200.0
# An idle JVM uses up to a hundredth of a processor; that is no progress.
CPU_STEP_S = 2.0


class Activity(NamedTuple):
    """Totals of a process and its children: processor time, bytes read and written, size of its log."""

    cpu_s: float
    disk_bytes: int
    log_bytes: int


class StallDetector:
    """Decides when to give up one wait. `now`: when it starts, in seconds of any one clock."""

    def __init__(self, now: float, stalled_s: float = STALLED_S, wait_max_s: float = WAIT_MAX_S) -> None:
        self._started_at = self._active_at = now
        self._stalled_s, self._wait_max_s = stalled_s, wait_max_s
        self._activity = Activity(0.0, 0, 0)

    def reason_to_give_up(self, now: float, activity: Activity) -> str:
        """Why waiting longer is useless; empty if it is not."""
        if _has_progressed(self._activity, activity):
            self._activity, self._active_at = activity, now
        if now - self._active_at > self._stalled_s:
            return (
                f"it has made no progress for {now - self._active_at:.0f} s: no processor time, disk access or log line"
            )
        if now - self._started_at > self._wait_max_s:
            return f"it still works after {now - self._started_at:.0f} s"
        return ""


def _has_progressed(before: Activity, now: Activity) -> bool:
    return now.cpu_s >= before.cpu_s + CPU_STEP_S or now[1:] != before[1:]


def activity_of(process: psutil.Process, log: Path) -> Activity:
    """The activity of the process and its children, as far as the system shows it."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        family = []
    totals = [_totals(member) for member in family]
    return Activity(sum(cpu_s for cpu_s, _ in totals), sum(size for _, size in totals), _size(log))


def _totals(process: psutil.Process) -> tuple[float, int]:
    cpu_s, disk_bytes = 0.0, 0
    try:
        times = process.cpu_times()
        # Ended children count too: a start script runs many.
        cpu_s = times.user + times.system + times.children_user + times.children_system
        io = process.io_counters()
        disk_bytes = io.read_bytes + io.write_bytes
    except (psutil.Error, AttributeError):  # ended, of another user, or a system without these counters
        pass
    return cpu_s, disk_bytes


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
