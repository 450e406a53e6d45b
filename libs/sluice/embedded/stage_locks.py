"""One `up` runs a stage of a state directory: a second one would take state, slots and transactional ids from it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sluice.embedded.layout import Layout
from sluice.embedded.state_lock import holder_of, try_lock, write_holder
from sluice.errors import EnvironmentFault


@contextmanager
def stages_locked(state_dir: Path, stages: Sequence[str]) -> Iterator[None]:
    """While inside, no other process gets here with one of `stages`.

    Raises EnvironmentFault where one has, and for a directory that cannot be written or whose files cannot be locked.
    """
    # It marks a directory that it finds empty as ours: without the mark `dev reset` would leave the stages' state.
    folder = Layout.of(state_dir).state_dir / "stages" / "run"
    where = f"state directory {state_dir}"
    with ExitStack() as held:
        for stage in stages:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = held.enter_context((folder / f"{stage}.lock").open("a+"))
                locked = try_lock(file, fcntl.LOCK_EX)
            except OSError as error:
                why = f"stages/run/{stage}.lock cannot be locked ({error.strerror})"
                next_step = "make it writable, or give another --state-dir"
                raise EnvironmentFault(where, why, next_step) from None
            if not locked:
                why = f"process {holder_of(file).get('pid', '?')} runs {stage} on it already"
                raise EnvironmentFault(where, why, "end that one (Ctrl-C), or give another --state-dir")
            write_holder(file, "session")
        yield
