"""Where the embedded servers keep their things: `<state_dir>/servers/`, and nothing outside it but what root forces.

When root runs Sluice, Postgres runs as another user (it refuses root), who cannot reach a state directory below a
private home. Then, and only then, Postgres' data lies in `/var/lib/sluice/<hash of the state directory>`.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths of one state directory's servers."""

    state_dir: Path

    @classmethod
    def of(cls, state_dir: Path) -> Layout:
        layout = cls(state_dir.expanduser().resolve())
        layout.servers.mkdir(parents=True, exist_ok=True)
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

    def log(self, name: str) -> Path:
        return self.servers / f"{name}.log"

    def home(self, name: str) -> Path:
        """The data directory of one server that runs as ourselves."""
        return self.servers / name

    def home_for_other_user(self, name: str) -> Path:
        """The data directory of one server that runs as somebody else."""
        if reachable_by_all(self.servers):
            return self.home(name)
        return Path("/var/lib/sluice") / hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:16] / name

    def marker(self, name: str) -> str:
        """The argument by which a running server of this state directory is recognised."""
        return f"sluice.server={name}:{self.state_dir}"


def reachable_by_all(path: Path) -> bool:
    """Whether any user may walk to this directory: every directory on the way is executable for all."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))
