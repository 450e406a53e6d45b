"""A buffer for the faults that a process must write to Kafka next. It keeps only the newest state of each fault, so its
size is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from sluice.telemetry.health import PROCESS, START, ActiveFault


class FaultBuffer:
    """A thread-safe buffer between `Health`, which calls `changed`, and the fault writer, which calls the other
    methods."""

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
                    # A changed number of attempts is written with the next `repeat`.
                    if before is None or before.why != fault.why:
                        self._waiting[about] = fault
                return
            self._active.pop(about, None)
            self._waiting[about] = None
        if about == START:
            self.started.set()

    def repeat(self) -> None:
        """Put all active faults into the buffer, so that they are written again."""
        with self._lock:
            self._waiting = {**self._active, **self._waiting}

    def inherit(self, abouts: Iterable[str]) -> None:
        """Resolve the faults that an earlier process with the same stage and instance name left active, and that this
        process has not reported. `abouts`: their subjects.

        The fault that ended the earlier process is resolved only by `outlived`, because this process may end in the
        same way.
        """
        with self._lock:
            for about in abouts:
                if about == PROCESS:
                    self._end_inherited = True
                elif about not in self._reported:
                    self._waiting[about] = None

    def outlived(self) -> None:
        """Resolve the fault that ended an earlier process with the same stage and instance name. Called when this
        process has run for a while without that fault."""
        with self._lock:
            if self._end_inherited and PROCESS not in self._reported:
                self._waiting[PROCESS] = None
            self._end_inherited = False

    def take(self) -> dict[str, ActiveFault | None]:
        """Remove and return the states of faults that must be written, by subject; None stands for a resolved fault."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
            return taken

    def give_back(self, taken: Mapping[str, ActiveFault | None]) -> None:
        """Put fault states back that could not be written. If the buffer already has a newer state of a fault, the
        newer state stays."""
        with self._lock:
            self._waiting = {**taken, **self._waiting}
