"""Where the embedded servers keep their things: `<state_dir>/servers/`, and nothing outside it but what root forces.

When root runs Sluice, Postgres runs as another user (it refuses root), who cannot reach a state directory below a
private home. Then, and only then, Postgres' data lies in `/var/lib/sluice/<hash of the state directory>`.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from sluice.errors import SettingsError

MARK = ".sluice-state"


@dataclass(frozen=True)
class Layout:
    """Paths of one state directory's servers."""

    state_dir: Path

    @classmethod
    def of(cls, state_dir: Path) -> Layout:
        """The layout of a state directory, which is made if it is not there."""
        layout = cls(state_dir.expanduser().resolve())
        try:
            is_ours = not layout.state_dir.exists() or not any(layout.state_dir.iterdir())
            layout.servers.mkdir(parents=True, exist_ok=True)
            if is_ours:
                (layout.state_dir / MARK).touch()
        except OSError as error:
            raise SettingsError(
                f"state directory {layout.state_dir}: nothing can be written there ({error.strerror}); name another "
                "by --state-dir or SLUICE_STATE_DIR"
            ) from None
        return layout

    @property
    def servers(self) -> Path:
        return self.state_dir / "servers"

    @property
    def ports(self) -> Path:
        return self.servers / "ports.json"

    @property
    def lock(self) -> Path:
        return self.servers / "lock"

    @property
    def postgres_password(self) -> Path:
        return self.servers / "postgres.password"

    def log(self, name: str) -> Path:
        return self.servers / f"{name}.log"

    def home(self, name: str) -> Path:
        """The data directory of one server that runs as ourselves."""
        return self.servers / name

    def home_for_other_user(self, name: str) -> Path:
        """The data directory of one server that runs as somebody else."""
        return self.home(name) if reachable_by_all(self.servers) else self._elsewhere / name

    @property
    def _elsewhere(self) -> Path:
        return Path("/var/lib/sluice") / hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:16]

    def marker(self, name: str) -> str:
        """The argument by which a running server of this state directory is recognised."""
        return f"sluice.server={name}:{self.state_dir}"

    def delete(self) -> None:
        """Delete the servers' data and, in a directory that is Sluice's alone, the state of the stages as well.

        Topics are gone then, and what stages remember of them would only stop them. The lock file stays: it is held.
        """
        if self._elsewhere.exists():
            shutil.rmtree(self._elsewhere)
        is_ours = self.state_dir.name == ".sluice" or (self.state_dir / MARK).exists()
        doomed = list(self.servers.iterdir())
        doomed += [path for path in self.state_dir.iterdir() if is_ours and path != self.servers]
        for path in doomed:
            if path.name not in (MARK, self.lock.name):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def reachable_by_all(path: Path) -> bool:
    """Whether any user may walk to this directory: every directory on the way is executable for all."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))
