"""Restarts the embedded servers of a run that have ended."""

from __future__ import annotations

from pathlib import Path

from sluice.embedded import Servers
from sluice.embedded.fetching import Progress
from sluice.errors import EnvironmentFault


class ServerWatch:
    """Watches the servers of one run. `servers`: None if the run uses servers of others, which are not restarted.
    `restarts_max`: how often servers may end in this run."""

    def __init__(self, state_dir: Path, servers: Servers | None, progress: Progress, restarts_max: int) -> None:
        self._state_dir = state_dir
        self._servers = servers
        self._progress = progress
        self._restarts_left = self._restarts_max = restarts_max

    def check(self) -> None:
        """Restart the servers that have ended. Raises EnvironmentFault if servers end too often, one cannot start, or
        the state directory was deleted."""
        if not self._state_dir.exists():
            raise EnvironmentFault(
                f"state directory {self._state_dir}",
                "was deleted while it was in use, with the servers' data and the stages' state",
                "run the command again: the sources are then read from their beginning",
            )
        if self._servers is None:
            return
        for name in self._servers.dead():
            if not self._restarts_left:
                times = f"ended {self._restarts_max} times"
                raise EnvironmentFault(name, times, f"read its log in {self._state_dir}/servers")
            self._restarts_left -= 1
            self._progress(f"{name} has ended and is restarted")
            self._servers.restart(name)
