"""SIGINT and SIGTERM end a run of the tests in order: fixtures are torn down, servers stopped, the summary printed.

The caller may send either signal to `make`, to pytest, to one of its workers, or to all of them at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import psutil
import pytest
from xdist.workermanage import NodeManager

from sluice.embedded.processes import arguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A worker that ends the servers of a scenario in order, on a busy machine.
WORKERS_END_WITHIN_S = 60.0
CHECK_EVERY_S = 0.5


class _OnSignal:
    """Raises KeyboardInterrupt for the first signal. Later signals are ignored, because they must not interrupt the
    teardown."""

    def __init__(self) -> None:
        self._once = False
        self._parent = os.getppid()

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._once:
            self._once = True
            self._stop_others()
            raise KeyboardInterrupt

    def _stop_others(self) -> None:
        """Stop the other processes of the run. A worker signals the controller, which otherwise starts another worker
        in its place. The controller signals its workers, because they read its messages only between two tests."""
        if "PYTEST_XDIST_WORKER" not in os.environ:
            for worker in workers(psutil.Process()):
                worker.send_signal(signal.SIGINT)
        elif os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGTERM)


def workers(controller: psutil.Process) -> list[psutil.Process]:
    """The processes of `controller` that run tests: each of them reads its program from the controller."""
    return [child for child in controller.children() if any("stdin.readline" in part for part in arguments(child))]


def pytest_configure(config: pytest.Config) -> None:
    # Also where SIGINT was ignored before: so a shell starts what runs in its background.
    handler = _OnSignal()
    for number in SIGNALS:
        signal.signal(number, handler)
    NodeManager.EXIT_TIMEOUT = int(WORKERS_END_WITHIN_S)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        threading.Thread(target=_follow_make, name="follow-make", daemon=True).start()


def _follow_make() -> None:
    """End this run if SIGINT was sent to `make` alone. `make` then sends no signal to this process; it only stops
    handling SIGINT and waits. (Ctrl-C reaches this process directly, and `make` passes SIGTERM on.)"""
    parent = os.getppid()
    if not _catches_sigint(parent):
        return
    while _catches_sigint(parent):
        time.sleep(CHECK_EVERY_S)  # between two checks
    if os.getppid() == parent:
        os.kill(os.getpid(), signal.SIGINT)


def _catches_sigint(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # gone, or a system without /proc
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGINT - 1) & 1) and "Name:\tmake\n" in status
