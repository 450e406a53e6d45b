"""The base class of the embedded servers: what each server must define, and how all of them are started and stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import psutil

from sluice.embedded import processes
from sluice.embedded.fetching import Progress
from sluice.embedded.layout import Layout
from sluice.embedded.processes import Command
from sluice.embedded.stall import STALLED_S, StallDetector, activity_of
from sluice.errors import EnvironmentFault

CHECK_EVERY_S = 1.0


def silent(_line: str) -> None:
    """A progress function that shows nothing."""


class Cancelled(Exception):
    """The start of a server was cancelled, because another server failed to start or the user stopped the command."""


def owner_mark(owner: int | None) -> str:
    """The command-line argument of a server that names the process with which the server ends. `owner`: the pid of that
    process; None if the server outlives the process that started it."""
    return f"sluice.owner={owner or 'none'}"


class Server(ABC):
    """An embedded server of one state directory. A subclass defines how to prepare the server, how to run it, and
    whether it is ready."""

    name: ClassVar[str]
    # The signals that stop the server, from an orderly end to a certain one. Each is sent if the server still runs
    # after the one before it.
    stop_signals: ClassVar[Sequence[int]] = (signal.SIGTERM, signal.SIGKILL)
    # The kernel sends this signal to the server when the process that started the server dies.
    death_signal: ClassVar[int] = signal.SIGKILL

    def __init__(self, layout: Layout, ports: Mapping[str, int]) -> None:
        self.layout = layout
        self.port = ports[self.name]
        self.home = layout.home(self.name)
        self.log = layout.log(self.name)
        self.started: psutil.Process | None = None  # the server process that this object started last

    @abstractmethod
    def prepare(self) -> None:
        """Create the server's data directory if it does not exist, and clean up after a crash. Called before each
        start."""

    @abstractmethod
    def command(self, definitions: Sequence[str]) -> Command:
        """The command that runs the server. Its arguments include `definitions` (`name=value`). They have no effect on
        the server: the running server is found by them."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers clients. Raises no exception while the server is starting."""

    def find(self) -> psutil.Process | None:
        """The running process of this server, also if another process started it; None if the server does not run."""
        return processes.find(self.layout.marker(self.name))

    def start(self, *, detach: bool, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Start the server and block until it answers. With `detach`, it outlives this process.

        Raises EnvironmentFault if the server ends or makes no progress, Cancelled if `cancelled` is set meanwhile.
        """
        self.prepare()
        if cancelled.is_set():
            raise Cancelled
        command = self.command([self.layout.marker(self.name), owner_mark(None if detach else os.getpid())])
        processes.rotate(command.log)
        self.started = processes.spawn(command, detach=detach)
        self.await_ready(self.started, cancelled, progress)

    def await_ready(self, process: psutil.Process, cancelled: threading.Event, progress: Progress = silent) -> None:
        """Block until the server answers, for as long as it makes progress. `process`: the server's process.

        Raises EnvironmentFault if the server ends or makes no progress, Cancelled if `cancelled` is set meanwhile.
        """
        started_at = checked_at = reported_at = time.monotonic()
        detector = StallDetector(started_at, STALLED_S)
        while not self.is_ready():
            processes.reap()
            if not processes.is_alive(process):
                raise processes.died(self.name, self.log)
            now = time.monotonic()
            if now - checked_at > CHECK_EVERY_S:
                checked_at = now
                if why := detector.reason_to_give_up(now, activity_of(process, self.log)):
                    where, unanswered = f"starting {self.name}", f"process {process.pid} does not answer on port"
                    raise EnvironmentFault(
                        where, f"{unanswered} {self.port}; {why}", f"read {self.log}, then start again"
                    )
                if now - reported_at > STALLED_S / 3:
                    reported_at = now
                    progress(f"{self.name} is still starting after {now - started_at:.0f} s; see {self.log}")
            if cancelled.wait(0.1):
                raise Cancelled

    @classmethod
    def stop(cls, layout: Layout, deadline_s: float) -> None:
        """Stop the running server of this kind in a state directory, if there is one. Near the deadline it is
        killed."""
        if process := processes.find(layout.marker(cls.name)):
            processes.end(process, cls.stop_signals, deadline_s)
