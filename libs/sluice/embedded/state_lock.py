"""Locks of a state directory: one process at a time starts or stops its servers, and one `up` runs a stage on it.

They are the kernel's locks (flock): when a process dies, its locks end. The content of a lock file only names the
process that has locked it, for the message.
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

# A command locks while it starts or stops servers; a session locks as long as it uses them.
Kind = Literal["session", "command"]
LOCK_TIMEOUT_S = WAIT_MAX_S + 120.0  # the command waits for its servers as long as they make progress


class StateLock:
    """Locked from `acquire` to `release`, or to the end of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.is_shared = False

    def acquire(self, kind: Kind, progress: Callable[[str], None], timeout_s: float = LOCK_TIMEOUT_S) -> None:
        """Lock. Blocks while a command has the lock; a session that owns its servers is refused at once.

        Sessions that use detached servers share the lock: then `is_shared` is True. Raises EnvironmentFault.
        """
        file = self._path.open("a+")
        deadline, reported = time.monotonic() + timeout_s, False
        while not try_lock(file, fcntl.LOCK_EX):
            if kind == "session" and try_lock(file, fcntl.LOCK_SH):
                self._file, self.is_shared = file, True
                return
            owner = owner_of(file)
            if owner.get("kind") == "session" or time.monotonic() > deadline:
                file.close()
                raise _in_use(self._path, owner)
            if not reported:
                progress(f"waiting for process {owner.get('pid', '?')}, which starts or stops these servers")
                reported = True
            time.sleep(0.1)
        # A session also starts servers first; other processes wait for that.
        write_owner(file, "command")
        self._file = file

    def keep(self, *, share: bool) -> None:
        """Become a session. `share`: other sessions may use the servers too, and no process may stop them."""
        if self._file is not None and not self.is_shared:
            write_owner(self._file, "session")
            if share:
                fcntl.flock(self._file, fcntl.LOCK_SH)

    def refuse_shared(self) -> None:
        """Raises EnvironmentFault if other sessions share the lock."""
        if self.is_shared and self._file is not None:
            raise _in_use(self._path, owner_of(self._file))

    def release(self) -> None:
        """Unlock. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def try_lock(file: TextIO, operation: int) -> bool:
    """Try to lock `file` (flock) without blocking; returns whether it is locked now."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_owner(file: TextIO, kind: Kind) -> None:
    """Write this process into a file that it has locked."""
    file.seek(0)
    file.truncate()
    json.dump({"kind": kind, "pid": os.getpid(), "program": Path(sys.argv[0]).name}, file)
    file.flush()


def owner_of(file: TextIO) -> dict[str, object]:
    """The process that has locked `file`, as it wrote itself: `kind`, `pid`, `program`. Empty if not known."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:  # the process has locked the file and not written yet
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
    """Lock `stages` of a state directory while the block runs: two `up` with one stage would take over each other's
    state, slots and transactional ids.

    Raises EnvironmentFault if another process runs one of them, or if the directory cannot be written or locked.
    """
    # Layout.of marks an empty directory as ours: without the mark `dev reset` would keep the stages' state.
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
