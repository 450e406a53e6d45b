"""Peak memory of every process of a demo, as its proportional set size: shared pages are counted once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import psutil

# A sample costs 40 ms of processor time: the kernel counts the pages of twenty processes.
SAMPLE_EVERY_S = 5.0
_MIB = 1024 * 1024


class PeakMemory:
    """Sampled every five seconds; `by_name` in MiB, children included; `total` is the peak of the sum."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.total = 0
        self._due = 0.0

    def sample(self, pids: Callable[[], Mapping[str, int | None]]) -> None:
        """`pids` is asked when a sample is due."""
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
    """`alone`: without children, for ourselves: every other process of a demo is our child."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *([] if alone else root.children(recursive=True))]:
            total += process.memory_full_info().pss
    except psutil.Error:
        return total  # it ended while we looked
    return total
