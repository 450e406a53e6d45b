"""SIGINT and SIGTERM end a run of the tests in order: fixtures are torn down, servers ended, and the summary is told.

Whoever starts the tests may send either signal to `make`, to pytest, to one of its workers, or to all of them at once.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

import psutil
import pytest
from xdist.workermanage import NodeManager

from sluice.embedded.processes import arguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A worker that ends the servers of a scenario in order, on a busy machine.
WORKERS_END_WITHIN_S = 60.0


class _Told:
    """Raises KeyboardInterrupt for the first signal. Later ones say nothing new, and must not cut the clearing up."""

    def __init__(self) -> None:
        self._once = False
        self._parent = os.getppid()

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._once:
            self._once = True
            self._tell_others()
            raise KeyboardInterrupt

    def _tell_others(self) -> None:
        """A worker tells the controller, which would start another in its place. The controller tells its workers at
        once: their channel is read only between two tests."""
        if "PYTEST_XDIST_WORKER" not in os.environ:
            for worker in workers(psutil.Process()):
                worker.send_signal(signal.SIGINT)
        elif os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGTERM)


def workers(controller: psutil.Process) -> list[psutil.Process]:
    """Its processes that run tests: each reads its program from the controller."""
    return [child for child in controller.children() if any("stdin.readline" in part for part in arguments(child))]


def pytest_configure(config: pytest.Config) -> None:
    # Also where SIGINT was ignored before: so a shell starts what runs in its background.
    told = _Told()
    for number in SIGNALS:
        signal.signal(number, told)
    NodeManager.EXIT_TIMEOUT = int(WORKERS_END_WITHIN_S)
