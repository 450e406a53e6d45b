"""Threads that work while a block runs: the answer to Ctrl-C, and turns that go on while something else is waited for.

Within a tenth of a second after Ctrl-C, a line says that the run stops and what it waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice.stage.signals import Stop

CHECK_EVERY_S = 0.1


class Stopped(Exception):
    """A stop was requested: the next step does not start."""


@contextmanager
def answered(stop: Stop, report: Callable[[str], None], waiting_for: Callable[[], str]) -> Iterator[None]:
    """Call `report` as soon as `stop` is requested inside the block, with what the run waits for.

    A thread does this: starting a server or reading a stage's metrics may take seconds, and a signal handler must not
    draw.
    """
    ended = threading.Event()

    def watch() -> None:
        while not (requested := stop.wait(CHECK_EVERY_S)) and not ended.is_set():
            pass
        if requested:
            report(f"stopping ... waiting for {waiting_for()}")

    watcher = threading.Thread(target=watch, name="stop-answer", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextmanager
def repeated(turn: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `turn` every `every_s` seconds in a thread until the block ends; an exception of `turn` is raised then."""
    ended = threading.Event()
    raised: list[BaseException] = []

    def turns() -> None:
        try:
            while not ended.wait(every_s):
                turn()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=turns, name="turns", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if raised:
        raise raised[0]
