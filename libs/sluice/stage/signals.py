"""Stopping: SIGTERM and SIGINT set a flag that every wait of the loop looks at."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Stop:
    """Asked for by a signal or by `request`; `wait` sleeps no longer than until then."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @classmethod
    def on_signals(cls) -> Stop:
        stop = cls()

        def ask(number: int, frame: FrameType | None) -> None:
            stop.request()

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)
        return stop

    def request(self) -> None:
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)
