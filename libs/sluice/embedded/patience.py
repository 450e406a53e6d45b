"""How long a process that was begun is waited for: as long as it makes progress, and not without end.

A busy machine takes minutes for what a quiet one does in seconds; one that stands still is told soon all the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import psutil

STALLED_S = 90.0
AT_MOST_S = 1200.0
# An idle JVM takes up to a hundredth of a processor for its own housekeeping: that is no progress.
CPU_STEP_S = 2.0


class Signs(NamedTuple):
    """What a process and its children have done so far: processor time, bytes to and from the disk, its log."""

    cpu_s: float
    disk_bytes: int
    log_bytes: int


class Patience:
    """Decides about one wait that began at `now` (seconds of any one clock)."""

    def __init__(self, now: float, stalled_s: float = STALLED_S, at_most_s: float = AT_MOST_S) -> None:
        self._began = self._moved_at = now
        self._stalled_s, self._at_most_s = stalled_s, at_most_s
        self._moved = Signs(0.0, 0, 0)

    def spent(self, now: float, signs: Signs) -> str:
        """Why there is nothing more to wait for; empty while there is."""
        if _has_moved(self._moved, signs):
            self._moved, self._moved_at = signs, now
        if now - self._moved_at > self._stalled_s:
            return (
                f"it has stood still for {now - self._moved_at:.0f} s: no processor time, no disk access, no log line"
            )
        if now - self._began > self._at_most_s:
            return f"it is still at work after {now - self._began:.0f} s"
        return ""


def _has_moved(before: Signs, now: Signs) -> bool:
    return now.cpu_s >= before.cpu_s + CPU_STEP_S or now[1:] != before[1:]


def signs(process: psutil.Process, log: Path) -> Signs:
    """Of the process and its children, as far as they can be seen."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        family = []
    done = [_done(member) for member in family]
    return Signs(sum(cpu_s for cpu_s, _ in done), sum(size for _, size in done), _size(log))


def _done(process: psutil.Process) -> tuple[float, int]:
    cpu_s, disk_bytes = 0.0, 0
    try:
        times = process.cpu_times()
        # Of a child that has ended, too: a start script hands over to many.
        cpu_s = times.user + times.system + times.children_user + times.children_system
        moved = process.io_counters()
        disk_bytes = moved.read_bytes + moved.write_bytes
    except (psutil.Error, AttributeError):  # gone, another user's, or a system that does not count
        pass
    return cpu_s, disk_bytes


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
