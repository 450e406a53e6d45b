"""Decides how long to wait for a process that was started: as long as the process makes progress, up to a maximum.

A busy machine takes minutes for work that an idle machine does in seconds. On both, a process that makes no progress is
reported after 90 s.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

STALLED_S = 90.0
WAIT_MAX_S = 1200.0
# Less processor time than this is no progress: an idle JVM uses up to a hundredth of a processor.
CPU_STEP_S = 2.0


class Activity(NamedTuple):
    """What a process and its children have used in total: processor time, bytes read and written, and the size of the
    log. A change shows progress."""

    cpu_s: float
    disk_bytes: int
    log_bytes: int


class StallDetector:
    """Decides when to give up waiting for a process: after `stalled_s` without progress, or after `wait_max_s`. `now`:
    the start of the wait, in seconds of any clock."""

    def __init__(self, now: float, stalled_s: float = STALLED_S, wait_max_s: float = WAIT_MAX_S) -> None:
        self._started_at = self._active_at = now
        self._stalled_s, self._wait_max_s = stalled_s, wait_max_s
        self._activity = Activity(0.0, 0, 0)

    def reason_to_give_up(self, now: float, activity: Activity) -> str:
        """Why it is useless to wait longer for the process; empty if it is not useless. `now`: seconds of the clock of
        the start. `activity`: what the process has used by now."""
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
    """What the process and its children have used so far, as far as the operating system shows it. `log`: the file of
    the process's log."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        family = []
    log_bytes = log.stat().st_size if log.exists() else 0
    totals = [_totals(member) for member in family]
    return Activity(sum(cpu_s for cpu_s, _ in totals), sum(size for _, size in totals), log_bytes)


def _totals(process: psutil.Process) -> tuple[float, int]:
    cpu_s, disk_bytes = 0.0, 0
    try:
        times = process.cpu_times()
        # The processor time of ended children counts too, because a start script runs many short programs.
        cpu_s = times.user + times.system + times.children_user + times.children_system
        io = process.io_counters()
        disk_bytes = io.read_bytes + io.write_bytes
    except (psutil.Error, AttributeError):  # ended, of another user, or no such counters in this operating system
        pass
    return cpu_s, disk_bytes
