"""The TCP ports of the embedded servers: on the loopback address, below the kernel's range for outgoing connections.

A port inside that range may be used by a client's connection when a server restarts. Ports are chosen once and stored,
because other programs (psql, a shell with exported variables) use them.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from sluice.embedded.layout import Layout
from sluice.embedded.processes import find
from sluice.errors import EnvironmentFault

LOOPBACK = "127.0.0.1"
LOWEST = 15000
USUAL_EPHEMERAL_LOW = 32768
# The first port of a server has the server's name and is for clients. The other ports are internal.
OF_SERVER: Mapping[str, Sequence[str]] = {
    "kafka": ("kafka", "kafka-controller"),
    "postgres": ("postgres",),
    "registry": ("registry", "registry-management"),
}
NAMES = [name for names in OF_SERVER.values() for name in names]


def ephemeral_low() -> int:
    """The lowest port that the kernel uses for outgoing connections."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return USUAL_EPHEMERAL_LOW


def candidates(low: int, seed: int) -> Iterator[int]:
    """The ports to try, in an order that depends on `seed`, so that two state directories seldom try the same port.
    `low`: the first port of the kernel's range for outgoing connections."""
    top = low if low > LOWEST + 100 else USUAL_EPHEMERAL_LOW
    ports = list(range(LOWEST, top))
    random.Random(seed).shuffle(ports)  # noqa: S311
    return iter(ports)


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set SO_REUSEADDR too: with it, a port in the state TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(names: Sequence[str], seed: int) -> dict[str, int]:
    """Choose a free port for each of `names`. Raises EnvironmentFault if there are too few."""
    free = (port for port in candidates(ephemeral_low(), seed) if is_free(port))
    try:
        return {name: next(free) for name in names}
    except StopIteration:
        raise EnvironmentFault(
            "choosing ports", f"no free port between {LOWEST} and {ephemeral_low()}", "end processes that use them"
        ) from None


def remembered(path: Path) -> dict[str, int]:
    """The ports of the servers that are stored in the file `path`, by name; empty before the first start."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {name: port for name, port in known.items() if name in NAMES and isinstance(port, int)}


def settle(path: Path, servers: Iterable[str], *, movable: bool) -> dict[str, int]:
    """The port of each name; stores newly chosen ports in the file `path`. The ports of `servers`, which will be
    started next, are free.

    If another process uses a stored port of these servers, a new port is chosen. With `movable` false, clients may know
    the old port, so EnvironmentFault is raised instead.
    """
    known = remembered(path)
    for name in [port for server in servers for port in OF_SERVER[server]]:
        if name in known and not is_free(known[name]):
            if name in OF_SERVER and not movable:
                raise taken(name, known[name], path.parent.parent)
            del known[name]
    missing = [name for name in NAMES if name not in known]
    if missing:
        known |= choose(missing, seed=random.SystemRandom().randrange(2**32))
        write(path, known)
    return known


def forget(state_dir: Path) -> None:
    """Delete the stored ports of a state directory, so that the next start chooses other ports. Raises EnvironmentFault
    while one of its servers runs."""
    layout = Layout.of(state_dir)
    running = [name for name in OF_SERVER if find(layout.marker(name))]
    if running:
        why = f"still running: {', '.join(running)}"
        raise EnvironmentFault(f"state directory {state_dir}", why, "end the servers with `sluice dev down` first")
    layout.ports.unlink(missing_ok=True)


def write(path: Path, ports: Mapping[str, int]) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(ports, indent=1) + "\n")
    os.replace(scratch, path)


def taken(name: str, port: int, state_dir: Path) -> EnvironmentFault:
    """The error for the port of a server that another process uses."""
    command = f"sluice dev up --new-ports --state-dir {shlex.quote(str(state_dir))}"
    return EnvironmentFault(
        f"{name} on {LOOPBACK}:{port}",
        f"the port is taken by {user_of(port)}",
        f"end that process, or choose new ports with `{command}` (then run `sluice dev env` again)",
    )


def user_of(port: int) -> str:
    """A text that names the process that listens on `port`, if the operating system shows it."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        names = {f"process {c.pid} ({psutil.Process(c.pid).name()})" for c in listening if c.status == "LISTEN"}
    except psutil.Error:
        names = set()
    return ", ".join(sorted(names)) or "a process of another user"
