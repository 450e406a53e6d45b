"""Peak memory of every process of a run, as proportional set size: pages that processes share count once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import psutil

# A sample costs 40 ms of processor time: the kernel counts the pages of twenty processes.
SAMPLE_EVERY_S = 5.0
_MIB = 1024 * 1024


class PeakMemory:
    """`by_name`: MiB of each process with its children; `total`: the peak of the sum. Sampled every five seconds."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.total = 0
        self._due = 0.0

    def sample(self, pids: Callable[[], Mapping[str, int | None]]) -> None:
        """Take a sample if one is due; only then is `pids` called."""
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
    """`alone`: without children. For this process, because every other process of the run is its child."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *([] if alone else root.children(recursive=True))]:
            total += process.memory_full_info().pss
    except psutil.Error:
        return total  # the process ended meanwhile
    return total
