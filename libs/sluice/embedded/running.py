"""Shows and stops the embedded servers of a state directory, also if another process started them.

The running servers are found in the process table.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluice.embedded import aot, ports, processes
from sluice.embedded.fetching import Progress
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.postgres import SUPERUSER, Postgres
from sluice.embedded.registry import API, RegistryServer
from sluice.embedded.server import Server, owner_mark
from sluice.embedded.state_lock import StateLock, stages_locked
from sluice.errors import EnvironmentFault
from sluice.names import STAGES

KINDS: tuple[type[Server], ...] = (Kafka, Postgres, RegistryServer)


@dataclass(frozen=True)
class ServerStatus:
    """The state of one embedded server. `pid` and `pss_mib` (memory in MiB) are None if the server does not run. `port`
    is None before its first start."""

    name: str
    pid: int | None
    port: int | None
    detached: bool
    pss_mib: float | None


def status(state_dir: Path) -> list[ServerStatus]:
    """The state of each of the three embedded servers of a state directory. The directory may not exist."""
    layout = Layout(state_dir)
    known = ports.remembered(layout.ports)
    return [_status(layout, kind.name, known.get(kind.name)) for kind in KINDS]


def _status(layout: Layout, name: str, port: int | None) -> ServerStatus:
    process = processes.find(layout.marker(name))
    if process is None:
        return ServerStatus(name, None, port, False, None)
    return ServerStatus(name, process.pid, port, is_detached(process), processes.pss_mib(process.pid))


def stopped_broker(state_dir: Path, bootstrap_servers: str) -> bool:
    """Whether `bootstrap_servers` is the address of the embedded broker of a state directory, and that broker does not
    run."""
    layout = Layout(state_dir)
    port = ports.remembered(layout.ports).get("kafka")
    return bootstrap_servers == f"{LOOPBACK}:{port}" and processes.find(layout.marker("kafka")) is None


def database(state_dir: Path, name: str) -> str:
    """The DSN of the database `name` on the running embedded Postgres. The database is created unless it exists.

    Raises EnvironmentFault if one of the servers does not run.
    """
    return Postgres(Layout(state_dir), _ports_of_running(state_dir)).create_database(name)


def environment(state_dir: Path) -> dict[str, str]:
    """The environment variables with which stages, psql and other programs reach the running embedded servers.

    Raises EnvironmentFault if one of the servers does not run.
    """
    running = _ports_of_running(state_dir)
    postgres = Postgres(Layout(state_dir), running)
    return {
        "SLUICE_STATE_DIR": str(postgres.layout.state_dir),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": f"{LOOPBACK}:{running['kafka']}",
        "SLUICE_REGISTRY__URL": f"http://{LOOPBACK}:{running['registry']}{API}",
        "SLUICE_POSTGRES_DSN": postgres.dsn(),
        # psql and other programs that use libpq read these variables.
        "PGHOST": LOOPBACK,
        "PGPORT": str(postgres.port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": postgres.password,
    }


def _ports_of_running(state_dir: Path) -> dict[str, int]:
    """The ports of the three embedded servers by name. Raises EnvironmentFault if one of them does not run."""
    servers = status(state_dir)
    if stopped := [server.name for server in servers if server.pid is None]:
        why = f"not running: {', '.join(stopped)}"
        raise EnvironmentFault(f"state directory {state_dir}", why, "start the servers with `sluice dev up`")
    return {server.name: server.port for server in servers if server.port is not None}


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
