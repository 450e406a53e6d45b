"""What of a process's faults is to be written next: of each the newest state alone, so that it is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from sluice.telemetry.health import PROCESS, START, ActiveFault


class FaultBuffer:
    """Thread-safe. `told` is what `Health` calls; the rest is for whoever writes."""

    def __init__(self) -> None:
        self._raised: set[str] = set()
        self._active: dict[str, ActiveFault] = {}
        self._waiting: dict[str, ActiveFault | None] = {}
        self._end_left = False
        self._lock = threading.Lock()
        self.started = threading.Event()

    def told(self, about: str, active: ActiveFault | None) -> None:
        with self._lock:
            if active is not None:
                self._raised.add(about)
                if active.is_failure:
                    before = self._active.get(about)
                    self._active[about] = active
                    if before is None or before.why != active.why:  # how often it was tried can wait for `repeat`
                        self._waiting[about] = active
                return
            self._active.pop(about, None)
            self._waiting[about] = None
        if about == START:
            self.started.set()

    def repeat(self) -> None:
        """What stands is written anew."""
        with self._lock:
            self._waiting = {**self._active, **self._waiting}

    def outlived(self) -> None:
        """How an earlier process of our name ended is over: this one has run for a while."""
        with self._lock:
            if self._end_left and PROCESS not in self._raised:
                self._waiting[PROCESS] = None
            self._end_left = False

    def inherit(self, abouts: Iterable[str]) -> None:
        """Faults that an earlier process of our name left: what we have not raised is over. How that process ended
        stands until `outlived`: this one may end so, too."""
        with self._lock:
            for about in abouts:
                if about == PROCESS:
                    self._end_left = True
                elif about not in self._raised:
                    self._waiting[about] = None

    def take(self) -> dict[str, ActiveFault | None]:
        """What waits to be written; None for what is over."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            return taken

    def give_back(self, taken: Mapping[str, ActiveFault | None]) -> None:
        """It could not be written: the newest states still wait."""
        with self._lock:
            self._waiting = {**taken, **self._waiting}
