"""One embedded server: what it must say about itself, and the one way all of them are started, ended and restarted."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psutil

from sluice.embedded import processes
from sluice.embedded.layout import Layout
from sluice.embedded.ports import is_free, taken
from sluice.embedded.processes import Command
from sluice.errors import EnvironmentFault


class Server(ABC):
    """A server of one state directory. Subclasses say how it is prepared, run and asked whether it is ready."""

    name: str
    ready_within_s = 90.0

    def __init__(self, layout: Layout, ports: dict[str, int]) -> None:
        self.layout = layout
        self.port = ports[self.name]

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory, if there is none yet. Safe to call again after any crash."""

    @abstractmethod
    def command(self) -> Command: ...

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers its clients. Never raises for a server that is still starting."""

    def data_dirs(self) -> list[Path]:
        """What `reset` deletes."""
        return [self.layout.home(self.name)]

    def find(self) -> psutil.Process | None:
        """Its running process, whoever started it."""
        return processes.find(self.layout.marker(self.name))

    def start(self, *, detach: bool) -> psutil.Process:
        """Start it and return when it answers. Raises EnvironmentFault."""
        if not is_free(self.port):
            raise taken(self.name, self.port)
        self.prepare()
        command = self.command()
        process = processes.spawn(command, detach=detach)
        self.await_ready(process, command)
        return process

    def await_ready(self, process: psutil.Process, command: Command) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while not self.is_ready():
            processes.reap()
            if not processes.is_alive(process):
                raise processes.died(command)
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"starting {self.name}",
                    f"process {process.pid} does not answer on port {self.port} after {self.ready_within_s:.0f} s",
                    f"read {command.log}, then `sluice dev down` and start again",
                )
            time.sleep(0.05)

    def stop(self, process: psutil.Process, deadline_s: float) -> None:
        """End it in order, or by force when the deadline nears."""
        command = self.command()
        processes.end(process, [command.stop_signal, command.death_signal, signal.SIGKILL], deadline_s)
