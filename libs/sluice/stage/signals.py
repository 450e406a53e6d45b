"""The stop of a process: SIGTERM and SIGINT set a flag, which every wait of the loop checks."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

CHECK_INTERVAL_S = 0.2


class Stop:
    """A request to stop, made by a signal or by `request`. A call of `wait` then returns early.

    A signal handler runs between two instructions of the main thread. That thread may have locked any lock at this
    moment, even the lock of the Event in `wait`. The handler therefore takes no lock, and `wait` checks the flag five
    times a second.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._requested = False

    @classmethod
    def on_signals(cls) -> Stop:
        stop = cls()

        def set_flag(number: int, frame: FrameType | None) -> None:
            stop._requested = True

        signal.signal(signal.SIGTERM, set_flag)
        signal.signal(signal.SIGINT, set_flag)
        return stop

    def request(self) -> None:
        """Request the stop. May be called from any thread, but from no signal handler; every `wait` returns at once."""
        self._requested = True
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._requested

    def wait(self, timeout_s: float) -> bool:
        """Wait until a stop is requested, at most `timeout_s`. Returns whether it is requested."""
        ends_at = time.monotonic() + timeout_s
        while not self._requested and (left_s := ends_at - time.monotonic()) > 0:
            self._event.wait(min(left_s, CHECK_INTERVAL_S))
        return self._requested
