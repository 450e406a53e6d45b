"""One embedded server: what each kind defines, and how all of them are started and stopped."""

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
from sluice.embedded.processes import Command
from sluice.embedded.stall import STALLED_S, StallDetector, activity_of
from sluice.errors import EnvironmentFault

CHECK_EVERY_S = 1.0
Progress = Callable[[str], None]


def silent(_line: str) -> None:
    """Discards progress."""


class Cancelled(Exception):
    """The start was cancelled, because another server failed or by the user."""


def owner_mark(owner: int | None) -> str:
    """The argument that names the process with which the server ends; None: the server outlives all of them."""
    return f"sluice.owner={owner or 'none'}"


class Server(ABC):
    """A server of one state directory. A subclass defines how to prepare it, run it and ask whether it is ready."""

    name: ClassVar[str]
    # From an orderly end to a certain one. Each is sent if the one before did not end the process.
    stop_signals: ClassVar[Sequence[int]] = (signal.SIGTERM, signal.SIGKILL)
    # The signal from the kernel when the process that started it dies.
    death_signal: ClassVar[int] = signal.SIGKILL

    def __init__(self, layout: Layout, ports: Mapping[str, int]) -> None:
        self.layout = layout
        self.port = ports[self.name]
        self.started: psutil.Process | None = None  # the process of the last start by this object

    @abstractmethod
    def prepare(self) -> None:
        """Create the data directory if there is none, and clean up after a crash. Called before each start."""

    @abstractmethod
    def command(self, definitions: Sequence[str]) -> Command:
        """The command that runs it. Its arguments include `definitions` (`name=value`), which have no effect."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers its clients. Never raises for a server that is still starting."""

    def find(self) -> psutil.Process | None:
        """Its running process, by whichever process it was started; None if it does not run."""
        return processes.find(self.layout.marker(self.name))

    def start(self, *, detach: bool, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Start it and block until it answers. Raises EnvironmentFault or Cancelled."""
        self.prepare()
        if cancelled.is_set():
            raise Cancelled
        command = self.command([self.layout.marker(self.name), owner_mark(None if detach else os.getpid())])
        processes.rotate(command.log)
        self.started = processes.spawn(command, detach=detach)
        self.await_ready(self.started, cancelled, progress)

    def await_ready(self, process: psutil.Process, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Block until it answers, as long as it makes progress.

        Raises EnvironmentFault if it ends or makes no progress, or Cancelled.
        """
        log = self.layout.log(self.name)
        started_at = checked_at = reported_at = time.monotonic()
        detector = StallDetector(started_at, STALLED_S)
        while not self.is_ready():
            processes.reap()
            if not processes.is_alive(process):
                raise processes.died(self.name, log)
            now = time.monotonic()
            if now - checked_at > CHECK_EVERY_S:
                checked_at = now
                if why := detector.reason_to_give_up(now, activity_of(process, log)):
                    where, unanswered = f"starting {self.name}", f"process {process.pid} does not answer on port"
                    raise EnvironmentFault(where, f"{unanswered} {self.port}; {why}", f"read {log}, then start again")
                if now - reported_at > STALLED_S / 3:
                    reported_at = now
                    progress(f"{self.name} is still starting after {now - started_at:.0f} s; see {log}")
            if cancelled.wait(0.1):
                raise Cancelled

    @classmethod
    def stop(cls, layout: Layout, deadline_s: float) -> None:
        """Stop the running server of this state directory, by force near the deadline."""
        if process := processes.find(layout.marker(cls.name)):
            processes.end(process, cls.stop_signals, deadline_s)
