"""Stops the embedded servers of a state directory, also if another process started them."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from sluice.embedded import aot, processes
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.postgres import Postgres
from sluice.embedded.registry import RegistryServer
from sluice.embedded.server import Progress, Server, owner_mark
from sluice.embedded.state_lock import StateLock, stages_locked
from sluice.names import STAGES

KINDS: tuple[type[Server], ...] = (Kafka, Postgres, RegistryServer)


def stop(layout: Layout, kinds: Collection[type[Server]], deadline_s: float) -> None:
    """Stop the servers of these `kinds`: Kafka and the registry at the same time, then Postgres, because the registry
    uses it."""
    if maker := processes.find(layout.marker(aot.NAME)):
        processes.end(maker, [signal.SIGTERM, signal.SIGKILL], 4.0)
    for phase in ([k for k in kinds if k is not Postgres], [k for k in kinds if k is Postgres]):
        if phase:
            with ThreadPoolExecutor(len(phase)) as pool:
                list(pool.map(lambda kind: kind.stop(layout, deadline_s / 2), phase))


def end_orphans(layout: Layout) -> None:
    """End the servers of a session that was killed. The kernel ends them too; this waits until they have ended.

    Call it only if this process has locked the state directory. Then the owner of each server that is not detached is
    dead.
    """
    for kind in KINDS:
        process = processes.find(layout.marker(kind.name))
        if process is not None and not is_detached(process):
            processes.end(process, [kind.death_signal, signal.SIGKILL], 10.0)


def is_detached(process: psutil.Process) -> bool:
    return any(argument.endswith(owner_mark(None)) for argument in processes.arguments(process))


@contextmanager
def locked(state_dir: Path, progress: Progress) -> Iterator[Layout]:
    """Lock the servers of a state directory: while the block runs, no other process starts or stops them. Yields the
    paths of the directory."""
    layout = Layout.of(state_dir)
    lock = StateLock(layout.lock)
    lock.acquire("command", progress)
    try:
        yield layout
    finally:
        lock.release()


def down(state_dir: Path, progress: Progress, deadline_s: float = 20.0) -> list[str]:
    """Stop every server of the state directory. Returns the names of the servers that ran.

    Raises EnvironmentFault if a session uses the servers.
    """
    with locked(state_dir, progress) as layout:
        running = [kind.name for kind in KINDS if processes.find(layout.marker(kind.name)) is not None]
        stop(layout, KINDS, deadline_s)
        return running


def reset(state_dir: Path, progress: Progress, deadline_s: float = 20.0) -> None:
    """Stop every server of the state directory and delete all data: topics, databases and schemas.

    Raises EnvironmentFault while an `up` runs stages of this directory, or a session uses its servers.
    """
    with locked(state_dir, progress) as layout, stages_locked(state_dir, STAGES):
        stop(layout, KINDS, deadline_s)
        layout.delete()
