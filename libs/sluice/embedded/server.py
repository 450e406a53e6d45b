"""One embedded server: what it must say about itself, and the one way all of them are started and ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import psutil

from sluice.embedded import processes
from sluice.embedded.layout import Layout
from sluice.embedded.patience import STALLED_S, Patience, signs
from sluice.embedded.processes import Command
from sluice.errors import EnvironmentFault

LOOK_EVERY_S = 1.0
Progress = Callable[[str], None]


def silent(_line: str) -> None:
    """Progress that nobody follows."""


class Cancelled(Exception):
    """Starting was given up because another server failed, or by the user."""


def owner_mark(owner: int | None) -> str:
    """The argument that names the process whose death is to end the server; None: a server that outlives everybody."""
    return f"sluice.owner={owner or 'none'}"


class Server(ABC):
    """A server of one state directory. Subclasses say how it is prepared, run and asked whether it is ready."""

    name: ClassVar[str]
    # From an orderly end to a sure one; the next is sent when the one before did not help.
    stop_signals: ClassVar[Sequence[int]] = (signal.SIGTERM, signal.SIGKILL)
    # What the kernel sends when the process that started it dies.
    death_signal: ClassVar[int] = signal.SIGKILL

    def __init__(self, layout: Layout, ports: Mapping[str, int]) -> None:
        self.layout = layout
        self.port = ports[self.name]
        self.started: psutil.Process | None = None  # by this object, the last time

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory, if there is none yet, and clear what a crash left. Called before each start."""

    @abstractmethod
    def command(self, definitions: Sequence[str]) -> Command:
        """How it is run, with the `name=value` definitions among its arguments, where they have no effect."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers its clients. Never raises for a server that is still starting."""

    def find(self) -> psutil.Process | None:
        """Its running process, whoever started it."""
        return processes.find(self.layout.marker(self.name))

    def start(self, *, detach: bool, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Start it and return when it answers. Raises EnvironmentFault, or Cancelled."""
        self.prepare()
        if cancelled.is_set():
            raise Cancelled
        command = self.command([self.layout.marker(self.name), owner_mark(None if detach else os.getpid())])
        processes.rotate(command.log)
        self.started = processes.spawn(command, detach=detach)
        self.await_ready(self.started, cancelled, progress)

    def await_ready(self, process: psutil.Process, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Return when it answers; it is waited for as long as it makes progress.

        Raises EnvironmentFault when it ends or stands still, or Cancelled.
        """
        log = self.layout.log(self.name)
        began = looked_at = told_at = time.monotonic()
        patience = Patience(began, STALLED_S)
        while not self.is_ready():
            processes.reap()
            if not processes.is_alive(process):
                raise processes.died(self.name, log)
            now = time.monotonic()
            if now - looked_at > LOOK_EVERY_S:
                looked_at = now
                if why := patience.spent(now, signs(process, log)):
                    where, unanswered = f"starting {self.name}", f"process {process.pid} does not answer on port"
                    raise EnvironmentFault(where, f"{unanswered} {self.port}; {why}", f"read {log}, then start again")
                if now - told_at > STALLED_S / 3:
                    told_at = now
                    progress(f"{self.name} is still starting after {now - began:.0f} s; see {log}")
            if cancelled.wait(0.1):
                raise Cancelled

    @classmethod
    def stop(cls, layout: Layout, deadline_s: float) -> None:
        """End the running one of this state directory, in order; by force when the deadline nears."""
        if process := processes.find(layout.marker(cls.name)):
            processes.end(process, cls.stop_signals, deadline_s)
