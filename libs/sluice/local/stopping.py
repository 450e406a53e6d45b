"""Threads that run while a block of code runs: one answers Ctrl-C, one repeats a function.

Within a tenth of a second after Ctrl-C, the user reads that the run stops and what it waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sluice.stage.signals import Stop

CHECK_EVERY_S = 0.1


class Stopped(Exception):
    """The user requested a stop, so the next step of the run does not start."""


@contextmanager
def answered(stop: Stop, report: Callable[[str], None], waiting_for: Callable[[], str]) -> Iterator[None]:
    """While the block runs: as soon as `stop` is requested, call `report` with a line that says what the run waits for.

    A thread does this. The block may wait for seconds while a server starts or a stage's metrics are read, and a signal
    handler must not draw.
    """
    ended = threading.Event()

    def watch() -> None:
        while not (requested := stop.wait(CHECK_EVERY_S)) and not ended.is_set():
            pass
        if requested:
            report(f"stopping ... waiting for {waiting_for()}")

    with ThreadPoolExecutor(1, "stop-answer") as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            ended.set()
    watching.result()


@contextmanager
def repeated(turn: Callable[[], None], every_s: float) -> Iterator[None]:
    """While the block runs, call `turn` every `every_s` seconds in a thread. If `turn` raises an exception, the calls
    end, and the exception is raised at the end of the block."""
    ended = threading.Event()

    def turns() -> None:
        while not ended.wait(every_s):
            turn()

    with ThreadPoolExecutor(1, "turns") as pool:
        turning = pool.submit(turns)
        try:
            yield
        finally:
            ended.set()
    turning.result()
