"""The locks of a state directory. Only one process at a time may start or stop its servers, and only one `up` may run a
given stage.

The locks are those of the kernel (flock): they end when their process dies. A lock file contains the process that has
locked it, only to name that process in error messages.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, TextIO

from sluice.embedded.layout import Layout
from sluice.embedded.stall import WAIT_MAX_S
from sluice.errors import EnvironmentFault

# A command locks the state directory while it starts or stops servers; a session locks it as long as it uses them.
Kind = Literal["session", "command"]
LOCK_TIMEOUT_S = WAIT_MAX_S + 120.0  # longer than another command waits for its servers to start


class StateLock:
    """The lock of a state directory's servers. It is locked from `acquire` to `release`, or to the end of this
    process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_shared = False

    def acquire(self, kind: Kind, progress: Callable[[str], None], timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Lock the servers of the state directory. Blocks while a command has locked them. Raises EnvironmentFault at
        once if a session has locked them, or after `timeout_s`.

        Sessions that use detached servers share the lock. If this process is such a session, no error is raised, and
        `is_shared` is true.
        """
        self._file = self._path.open("a+")
        deadline, reported = time.monotonic() + timeout_s, False
        while not try_lock(self._file, fcntl.LOCK_EX):
            if kind == "session" and try_lock(self._file, fcntl.LOCK_SH):
                self.is_shared = True
                return
            owner = owner_of(self._file)
            if owner.get("kind") == "session" or time.monotonic() > deadline:
                self._file.close()
                raise _in_use(self._path, owner)
            if not reported:
                progress(f"waiting for process {owner.get('pid', '?')}, which starts or stops these servers")
                reported = True
            time.sleep(0.1)
        # A session starts its servers first, as a command does: other processes wait for that.
        write_owner(self._file, "command")

    def keep(self, *, share: bool) -> None:
        """Called when a session's servers run: from now on, the lock belongs to a session. With `share`, other sessions
        may use the servers too, and no process may stop them."""
        if not self.is_shared:
            write_owner(self._file, "session")
            if share:
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def refuse_shared(self) -> None:
        """Raises EnvironmentFault if this process shares the lock with other sessions."""
        if self.is_shared:
            raise _in_use(self._path, owner_of(self._file))

    def release(self) -> None:
        """Unlock the servers of the state directory. Call it after `acquire`; it may be called twice."""
        self._file.close()


def try_lock(file: TextIO, operation: int) -> bool:
    """Try to lock `file` (flock) without blocking. Returns whether this process has locked it now."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_owner(file: TextIO, kind: Kind) -> None:
    """Write the pid and program of this process into a lock file that this process has locked."""
    file.seek(0)
    file.truncate()
    json.dump({"kind": kind, "pid": os.getpid(), "program": Path(sys.argv[0]).name}, file)
    file.flush()


def owner_of(file: TextIO) -> dict[str, object]:
    """The process that has locked a lock file, as written in the file: `kind`, `pid`, `program`. Empty if the file does
    not contain it."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:  # the process that locked the file has not written to it yet
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(path: Path, owner: dict[str, object]) -> EnvironmentFault:
    return EnvironmentFault(
        f"state directory {path.parent.parent}",
        f"process {owner.get('pid', '?')} ({owner.get('program', 'unknown')}) is using its servers",
        "wait for it, end it, or choose another --state-dir",
    )


@contextmanager
def stages_locked(state_dir: Path, stages: Sequence[str]) -> Iterator[None]:
    """While the block runs, lock `stages` of a state directory. Without the lock, two `up` with the same stage would
    take over each other's state, slots and transactional ids.

    Raises EnvironmentFault if another process runs one of the stages, or if the state directory cannot be written or
    locked.
    """
    # `Layout.of` marks an empty directory as used by Sluice only. Without this mark, `dev reset` would keep the stages'
    # state.
    folder = Layout.of(state_dir).state_dir / "stages" / "run"
    where = f"state directory {state_dir}"
    with ExitStack() as locks:
        for stage in stages:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = locks.enter_context((folder / f"{stage}.lock").open("a+"))
                locked = try_lock(file, fcntl.LOCK_EX)
            except OSError as error:
                why = f"stages/run/{stage}.lock cannot be locked ({error.strerror})"
                next_step = "make it writable, or choose another --state-dir"
                raise EnvironmentFault(where, why, next_step) from None
            if not locked:
                why = f"process {owner_of(file).get('pid', '?')} runs {stage} on it already"
                raise EnvironmentFault(where, why, "end that one (Ctrl-C), or choose another --state-dir")
            write_owner(file, "session")
        yield
