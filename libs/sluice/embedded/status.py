"""Which embedded servers of a state directory run, and how to reach them. It reads the process table and starts
nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from sluice.embedded import ports, processes, stopping
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.postgres import SUPERUSER, Postgres
from sluice.embedded.registry import API
from sluice.errors import EnvironmentFault


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
    layout = Layout(state_dir.expanduser().resolve())
    known = ports.remembered(layout.ports)
    return [_status(layout, kind.name, known.get(kind.name)) for kind in stopping.KINDS]


def _status(layout: Layout, name: str, port: int | None) -> ServerStatus:
    process = processes.find(layout.marker(name))
    if process is None:
        return ServerStatus(name, None, port, False, None)
    return ServerStatus(name, process.pid, port, stopping.is_detached(process), _pss_mib(process))


def _pss_mib(process: psutil.Process) -> float | None:
    """The memory of a process and its children in MiB (proportional set size); None if the operating system does not
    show it."""
    try:
        family = [process, *process.children(recursive=True)]
        return round(sum(member.memory_full_info().pss for member in family) / 2**20, 1)
    except (psutil.Error, AttributeError):
        return None


def stopped_broker(state_dir: Path, bootstrap_servers: str) -> bool:
    """Whether `bootstrap_servers` is the address of the embedded broker of a state directory, and that broker does not
    run."""
    layout = Layout(state_dir.expanduser().resolve())
    port = ports.remembered(layout.ports).get("kafka")
    return bootstrap_servers == f"{LOOPBACK}:{port}" and processes.find(layout.marker("kafka")) is None


def database(state_dir: Path, name: str) -> str:
    """The DSN of the database `name` on the running embedded Postgres. The database is created unless it exists.

    Raises EnvironmentFault if Postgres does not run.
    """
    postgres = _postgres(state_dir, _ports_of_running(state_dir, ["postgres"]))
    postgres.create_database(name)
    return postgres.dsn(name)


def environment(state_dir: Path) -> dict[str, str]:
    """The environment variables with which stages, psql and other programs reach the running embedded servers.

    Raises EnvironmentFault if one of the servers does not run.
    """
    running = _ports_of_running(state_dir, [kind.name for kind in stopping.KINDS])
    postgres = _postgres(state_dir, running)
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


def _ports_of_running(state_dir: Path, names: Sequence[str]) -> dict[str, int]:
    """The ports of the servers `names`. Raises EnvironmentFault if one of these servers does not run."""
    found = [server for server in status(state_dir) if server.name in names]
    running = {server.name: server.port for server in found if server.pid is not None and server.port is not None}
    if stopped := [name for name in names if name not in running]:
        why = f"not running: {', '.join(stopped)}"
        raise EnvironmentFault(f"state directory {state_dir}", why, "start the servers with `sluice dev up`")
    return running


def _postgres(state_dir: Path, running: Mapping[str, int]) -> Postgres:
    return Postgres(Layout(state_dir.expanduser().resolve()), running)
