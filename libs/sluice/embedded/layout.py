"""The directories of the embedded servers. All are below `<state_dir>/servers/`, with one exception if root runs
Sluice.

Postgres refuses to run as root, so it then runs as another user. If the state directory is below a private home
directory, that user cannot reach it. Only in that case, the data of Postgres is in `/var/lib/sluice/<hash of the state
directory>`.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.errors import SettingsError

MARK = ".sluice-state"


class Layout:
    """The paths of the files and directories of the embedded servers of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.expanduser().resolve()
        self.servers = self.state_dir / "servers"
        self.ports = self.servers / "ports.json"
        self.lock = self.servers / "lock"
        self.postgres_password = self.servers / "postgres.password"
        self._elsewhere = Path("/var/lib/sluice") / hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:16]

    @classmethod
    def of(cls, state_dir: Path) -> Layout:
        """The paths in `state_dir`, which is created if it does not exist. Raises SettingsError if it cannot be
        written."""
        layout = cls(state_dir)
        try:
            is_ours = not layout.state_dir.exists() or not any(layout.state_dir.iterdir())
            layout.servers.mkdir(parents=True, exist_ok=True)
            if is_ours:
                (layout.state_dir / MARK).touch()
        except OSError as error:
            raise SettingsError(
                f"state directory {layout.state_dir}: cannot be written ({error.strerror}); choose another "
                "with --state-dir or SLUICE_STATE_DIR"
            ) from None
        return layout

    def log(self, name: str) -> Path:
        return self.servers / f"{name}.log"

    def home(self, name: str) -> Path:
        """The data directory of a server if it runs as the current user."""
        return self.servers / name

    def home_for_other_user(self, name: str) -> Path:
        """The data directory of a server if it runs as another user than the current one."""
        return self.home(name) if reachable_by_all(self.servers) else self._elsewhere / name

    def marker(self, name: str) -> str:
        """The command-line argument by which a running server of this state directory is found."""
        return f"sluice.server={name}:{self.state_dir}"

    def delete(self) -> None:
        """Delete the data of the embedded servers. If only Sluice uses the state directory, delete the stages' state as
        well.

        The servers' data includes the Kafka topics, and a stage stops if its state belongs to deleted topics. The lock
        file is kept, because this process has locked it.
        """
        if self._elsewhere.exists():
            shutil.rmtree(self._elsewhere)
        is_ours = self.state_dir.name == ".sluice" or (self.state_dir / MARK).exists()
        paths = list(self.servers.iterdir())
        paths += [path for path in self.state_dir.iterdir() if is_ours and path != self.servers]
        for path in paths:
            if path.name not in (MARK, self.lock.name):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def reachable_by_all(path: Path) -> bool:
    """Whether every user can reach the directory `path`: it and all its parents are executable for all."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


@contextmanager
def created_whole(target: Path) -> Iterator[Path]:
    """Create the directory `target` with its content at once. Yields an empty directory to fill, which is renamed to
    `target` when the block ends without an error.

    So `target` is complete or does not exist. If another process creates `target` before the rename, that directory
    stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as scratch:
        yield Path(scratch)
        try:
            Path(scratch).rename(target)
        except OSError:
            if not target.exists():
                raise
