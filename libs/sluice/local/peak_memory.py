"""Measures the peak memory of each process of a run, as proportional set size: memory that processes share counts
once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import psutil

# One measurement of twenty processes costs 40 ms of processor time, because the kernel counts their pages.
SAMPLE_EVERY_S = 5.0
_MIB = 1024 * 1024


class PeakMemory:
    """The peak memory of the processes of a run, in MiB. `by_name`: the peak of each process with its children.
    `total`: the peak of the sum. Measured every five seconds."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.total = 0
        self._due = 0.0

    def sample(self, pids: Callable[[], Mapping[str, int | None]]) -> None:
        """Measure the memory of the processes if five seconds have passed since the last measurement. `pids` is called
        only then; it returns pids by name."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + SAMPLE_EVERY_S
        total = 0
        for name, pid in pids().items():
            mib = _pss_bytes(pid, alone=pid == os.getpid()) // _MIB if pid else 0
            total += mib
            self.by_name[name] = max(self.by_name.get(name, 0), mib)
        self.total = max(self.total, total)


def _pss_bytes(pid: int, alone: bool) -> int:
    """The memory of a process and its children. With `alone`, children do not count: this is for the process of the run
    itself, because all other processes are its children."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *([] if alone else root.children(recursive=True))]:
            total += process.memory_full_info().pss
    except psutil.Error:
        return total  # the process has ended
    return total
