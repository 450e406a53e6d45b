"""The fault states of a process that must be written next. Only the newest state of each fault waits, so that the
buffer is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from sluice.telemetry.health import PROCESS, START, ActiveFault


class FaultBuffer:
    """Thread-safe. `Health` calls `changed`, the writer calls the other methods."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._active: dict[str, ActiveFault] = {}
        self._waiting: dict[str, ActiveFault | None] = {}
        self._end_inherited = False
        self._lock = threading.Lock()
        self.started = threading.Event()

    def changed(self, about: str, fault: ActiveFault | None) -> None:
        with self._lock:
            if fault is not None:
                self._reported.add(about)
                if fault.is_failure:
                    before = self._active.get(about)
                    self._active[about] = fault
                    if before is None or before.why != fault.why:  # a new number of attempts can wait for `repeat`
                        self._waiting[about] = fault
                return
            self._active.pop(about, None)
            self._waiting[about] = None
        if about == START:
            self.started.set()

    def repeat(self) -> None:
        """Write all active faults again."""
        with self._lock:
            self._waiting = {**self._active, **self._waiting}

    def inherit(self, abouts: Iterable[str]) -> None:
        """Resolve the faults that an earlier process of our name left and that this one has not reported.

        The fault that ended it is active until `outlived`, because this process may end in the same way.
        """
        with self._lock:
            for about in abouts:
                if about == PROCESS:
                    self._end_inherited = True
                elif about not in self._reported:
                    self._waiting[about] = None

    def outlived(self) -> None:
        """Resolve the fault that ended an earlier process of our name: this process has run for a while."""
        with self._lock:
            if self._end_inherited and PROCESS not in self._reported:
                self._waiting[PROCESS] = None
            self._end_inherited = False

    def take(self) -> dict[str, ActiveFault | None]:
        """The states to write; None for a resolved fault."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            return taken

    def give_back(self, taken: Mapping[str, ActiveFault | None]) -> None:
        """Called when the states of `taken` could not be written: they wait again, except where a newer state waits."""
        with self._lock:
            self._waiting = {**taken, **self._waiting}
