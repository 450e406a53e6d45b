"""How slow this machine is at the moment, as one factor by which every deadline of the tests is longer.

It is measured once at the start of a session, for two seconds, and printed in the header of the run. Workers read it
from `SLUICE_TEST_SLOWNESS`, which a person may set as well. A wait near its end measures again: other work may have
started since. A deadline is no assertion about speed: it only says when to stop waiting.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import pytest
from hypothesis import HealthCheck, settings

from sluice.embedded.stall import WAIT_MAX_S

VARIABLE = "SLUICE_TEST_SLOWNESS"
SLOWNESS_MAX = 8.0
MEASURED_FOR_S = 2.0
# What a quiet machine with two cores reaches with ease: rounds of `_WORK` in two processes, and fsyncs of 8 KiB.
ROUNDS_PER_S, SYNCS_PER_S = 5_000.0, 400.0
PROCESSES = 2  # one for each core of that machine
# Hypothesis times its examples, and how fast it finds them. Loaded before any test is imported.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
_WORK = """
import sys, time
rounds, ends_at = 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < ends_at:
    sum(range(10_000))
    rounds += 1
print(rounds)
"""


def within(seconds: float) -> float:
    """A deadline of `seconds` on a quiet machine, as long as this one needs it to be."""
    return seconds * slowness()


def slowness() -> float:
    """1 on a quiet machine, never more than 8."""
    return min(SLOWNESS_MAX, max(1.0, float(os.environ.get(VARIABLE) or 1.0)))


def look_again() -> float:
    """The slowness after another look at the machine. It does not fall in a session."""
    os.environ[VARIABLE] = f"{max(slowness(), measured()):.2f}"
    return slowness()


def factor(rounds_per_s: float, syncs_per_s: float) -> float:
    """The slowness that these rates show: of the processor or of the disk, whichever is worse."""
    worse = min(rounds_per_s / ROUNDS_PER_S, syncs_per_s / SYNCS_PER_S)
    return min(SLOWNESS_MAX, max(1.0, 1 / max(worse, 0.01)))


def measured(for_s: float = MEASURED_FOR_S) -> float:
    """Keep two processors and the disk busy for that long, and compare with what a quiet machine does."""
    command = [sys.executable, "-I", "-S", "-c", _WORK, str(for_s)]
    working = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    syncs_per_s = _syncs(for_s) / for_s
    rounds = sum(int(process.communicate()[0] or 0) for process in working)
    return factor(rounds / for_s, syncs_per_s)


def _syncs(for_s: float) -> int:
    syncs, ends_at = 0, time.monotonic() + for_s
    with tempfile.TemporaryFile() as file:
        while time.monotonic() < ends_at:
            file.write(bytes(8192))
            file.flush()
            os.fsync(file.fileno())
            syncs += 1
    return syncs


def pytest_configure(config: pytest.Config) -> None:
    if VARIABLE not in os.environ and not config.option.collectonly:
        os.environ[VARIABLE] = f"{measured():.2f}"


def pytest_report_header() -> str:
    return f"slowness of this machine: {slowness():.1f}; deadlines are longer by that factor ({VARIABLE} sets it)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends a test that hangs lies beyond all that it may wait for: its deadlines, and servers at their start."""
    for item in items:
        mark = item.get_closest_marker("timeout")
        own_s = float(mark.args[0] if mark else item.config.getini("timeout"))
        starts_servers = "unit" not in item.path.parts
        item.add_marker(pytest.mark.timeout(within(own_s) + (WAIT_MAX_S if starts_servers else 0)), append=False)
