"""Measures the peak memory of each process of a run (proportional set size: a page that several processes share is
divided among them)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from sluice.embedded.processes import pss_mib

# One measurement of twenty processes costs 40 ms of processor time, because the kernel counts their pages.
SAMPLE_EVERY_S = 5.0


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
            # Every other process of the run is a child of this one.
            mib = int(pss_mib(pid, alone=pid == os.getpid()) or 0) if pid else 0
            total += mib
            self.by_name[name] = max(self.by_name.get(name, 0), mib)
        self.total = max(self.total, total)
