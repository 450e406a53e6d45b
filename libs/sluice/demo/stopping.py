"""Ctrl-C is answered at once, whatever the demo is busy with, and what the end waits for is said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice.stage.signals import Stop

LOOK_EVERY_S = 0.1


class Stopped(Exception):
    """The stop was asked for: what comes next is not begun."""


@contextmanager
def answered(stop: Stop, tell: Callable[[str], None], doing: Callable[[], str]) -> Iterator[None]:
    """While inside, `tell` within an instant that `stop` was requested, and what is waited for first: `doing`.

    A thread does it: starting a server or looking at a stage may take seconds, and a signal handler must not draw.
    """
    left = threading.Event()

    def watch() -> None:
        while not (asked := stop.wait(LOOK_EVERY_S)) and not left.is_set():
            pass
        if asked:
            tell(f"stopping ... waiting for {doing()}")

    watcher = threading.Thread(target=watch, name="stop-answer", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        watcher.join()
