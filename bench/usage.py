"""Processor time and memory of processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


def tree(pids: Iterable[int]) -> set[int]:
    """`pids` and all their descendants that run now."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        try:
            for task in (PROC / str(pid) / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # the process has ended
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Processor seconds of processes: user and system time of all their threads, and of children that have ended."""
    return sum(map(_ticks, pids)) / TICKS_PER_S


def _ticks(pid: int) -> int:
    try:
        return parse_ticks((PROC / str(pid) / "stat").read_text())
    except OSError:
        return 0


def threads_cpu_s(pid: int) -> dict[tuple[int, str], float]:
    """Processor seconds of the threads of a process, by id and name of the thread; empty if the process has ended."""
    found: dict[tuple[int, str], float] = {}
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            stat = (task / "stat").read_text()
            name = stat[stat.index("(") + 1 : stat.rindex(")")]
            found[int(task.name), name] = sum(map(int, stat.rpartition(")")[2].split()[11:13])) / TICKS_PER_S
    except OSError:
        return {}
    return found


def parse_ticks(stat: str) -> int:
    """utime, stime, cutime and cstime of a line of `/proc/<pid>/stat`, in clock ticks."""
    # The name of the process is in parentheses and may contain blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of processes."""
    total = 0
    for pid in pids:
        try:
            total += int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
        except OSError:
            continue
    return total


def machine_busy_s() -> float:
    """Processor seconds that all processes of the machine have used since its start."""
    return parse_busy(PROC.joinpath("stat").read_text()) / TICKS_PER_S


def parse_busy(stat: str) -> int:
    """The busy ticks of the first line of `/proc/stat`: all but idle and iowait. Guest time is part of user time."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.split("\n", 1)[0].split()[1:9])
    return user + nice + system + irq + softirq + steal
