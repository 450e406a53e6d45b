"""One `up` runs a stage of a state directory: a second one would take state, slots and transactional ids from it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from sluice.embedded.layout import Layout
from sluice.errors import EnvironmentFault


@contextmanager
def running_alone(state_dir: Path, stages: Sequence[str]) -> Iterator[None]:
    """While inside, no other process gets here with one of `stages`. Raises EnvironmentFault where one has, and
    SettingsError for a directory that cannot be written."""
    # It marks a directory that it finds empty as ours: without the mark `dev reset` would leave the stages' state.
    folder = Layout.of(state_dir).state_dir / "stages" / "run"
    with ExitStack() as held:
        for stage in stages:
            with suppress(OSError):  # a folder within that cannot be written is told by who has to write there
                folder.mkdir(parents=True, exist_ok=True)
                _hold(held.enter_context((folder / f"{stage}.lock").open("a+")), state_dir, stage)
        yield


def _hold(file: TextIO, state_dir: Path, stage: str) -> None:
    """The kernel's lock: it is gone the moment its holder is, however that died."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise EnvironmentFault(
            f"state directory {state_dir}",
            f"process {file.read().strip() or '?'} runs {stage} on it already",
            "end that one (Ctrl-C), or give another --state-dir",
        ) from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
