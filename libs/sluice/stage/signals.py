"""Stopping: SIGTERM and SIGINT set a flag that every wait of the loop looks at."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

SEEN_WITHIN_S = 0.2


class Stop:
    """Asked for by a signal or by `request`; `wait` sleeps no longer than until then.

    A signal's handler runs between two instructions of the main thread, which may hold any lock just then, that of an
    Event it waits for as well: the handler takes none, and those who wait look at the flag five times a second.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._asked = False

    @classmethod
    def on_signals(cls) -> Stop:
        stop = cls()

        def ask(number: int, frame: FrameType | None) -> None:
            stop._asked = True

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)
        return stop

    def request(self) -> None:
        """Ask from a thread; at once for those who wait."""
        self._asked = True
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._asked

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is asked for, at most `timeout_s`; whether it is."""
        give_up = time.monotonic() + timeout_s
        while not self._asked and (left_s := give_up - time.monotonic()) > 0:
            self._event.wait(min(left_s, SEEN_WITHIN_S))
        return self._asked
