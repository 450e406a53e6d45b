"""One owner of a state directory at a time: two `up` never race, and nobody ends servers that a session still uses.

The lock is the kernel's (flock), so it is gone the moment its holder is, however that died. The file's content only
says who holds it, for the message.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TextIO

from sluice.embedded.patience import AT_MOST_S
from sluice.errors import EnvironmentFault

# A command holds the lock while it starts or ends servers; a session goes on holding it as long as it uses them.
Kind = Literal["session", "command"]
PATIENCE_S = AT_MOST_S + 120.0  # the command waits for its servers as long as they make progress


class StateLock:
    """Held from `acquire` to `release`, or to the death of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.is_shared = False

    def acquire(self, kind: Kind, progress: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        """Wait for a command to end; refuse at once beside a session that owns its servers. Raises EnvironmentFault.

        Beside sessions that share detached servers another session gets its share: see `is_shared`.
        """
        file = self._path.open("a+")
        deadline, told = time.monotonic() + patience_s, False
        while not try_lock(file, fcntl.LOCK_EX):
            if kind == "session" and try_lock(file, fcntl.LOCK_SH):
                self._file, self.is_shared = file, True
                return
            holder = holder_of(file)
            if holder.get("kind") == "session" or time.monotonic() > deadline:
                file.close()
                raise _in_use(self._path, holder)
            if not told:
                progress(f"waiting for process {holder.get('pid', '?')}, which starts or ends these servers")
                told = True
            time.sleep(0.1)
        # A session as well only starts servers at first: that is worth waiting for.
        write_holder(file, "command")
        self._file = file

    def keep(self, *, share: bool) -> None:
        """The session goes on from here; `share`: other sessions may use the servers as well, nobody may end them."""
        if self._file is not None and not self.is_shared:
            write_holder(self._file, "session")
            if share:
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def refuse_shared(self) -> None:
        """Raise EnvironmentFault where only a sole owner may go on."""
        if self.is_shared and self._file is not None:
            raise _in_use(self._path, holder_of(self._file))

    def release(self) -> None:
        """Safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


def try_lock(file: TextIO, operation: int) -> bool:
    """Whether `file` could be locked at once (flock)."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_holder(file: TextIO, kind: Kind) -> None:
    """Say in a locked file who we are."""
    file.seek(0)
    file.truncate()
    json.dump({"kind": kind, "pid": os.getpid(), "program": Path(sys.argv[0]).name}, file)
    file.flush()


def holder_of(file: TextIO) -> dict[str, object]:
    """Who has locked `file`, as that process says: `kind`, `pid`, `program`."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:  # it has the lock and has not written yet
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(path: Path, holder: dict[str, object]) -> EnvironmentFault:
    return EnvironmentFault(
        f"state directory {path.parent.parent}",
        f"process {holder.get('pid', '?')} ({holder.get('program', 'unknown')}) is using its servers",
        "wait for it or end it, or give another --state-dir",
    )
