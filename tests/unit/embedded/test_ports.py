"""Which ports the servers get, and what happens when somebody else has one."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import ports
from sluice.errors import EnvironmentFault


@pytest.fixture
def squatter() -> Iterator[socket.socket]:
    """A listener of ours on a port that the servers could have chosen."""
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, ports.choose(["any"], seed=os.getpid())["any"]))
        listener.listen()
        yield listener


@pytest.mark.parametrize("low", [32768, 60999, 20000])
def test_ports_lie_below_the_range_of_outgoing_connections(low: int) -> None:
    assert all(ports.LOWEST <= port < low for port in ports.candidates(low, seed=1))


def test_a_kernel_that_gives_out_nearly_all_ports_still_leaves_some_to_try() -> None:
    assert len(list(ports.candidates(1024, seed=1))) > 1000


def test_chosen_ports_are_remembered(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = ports.settle(path, ["kafka", "postgres", "registry"], movable=True)
    assert sorted(first) == sorted(ports.NAMES)
    assert len(set(first.values())) == len(first)
    assert ports.settle(path, ["kafka"], movable=False) == first == ports.remembered(path)


def test_damaged_stored_ports_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text('{"kafka": 1')
    assert sorted(ports.settle(path, [], movable=False)) == sorted(ports.NAMES)


def test_a_taken_port_that_clients_know_is_an_error_that_names_its_holder(
    tmp_path: Path, squatter: socket.socket
) -> None:
    port = squatter.getsockname()[1]
    known = ports.settle(tmp_path / "ports.json", [], movable=True) | {"postgres": port}
    ports.write(tmp_path / "ports.json", known)
    with pytest.raises(EnvironmentFault, match=rf"postgres on 127.0.0.1:{port}.*process {os.getpid()} .*--new-ports"):
        ports.settle(tmp_path / "ports.json", ["postgres"], movable=False)


def test_a_taken_port_of_a_server_that_runs_already_is_its_own(tmp_path: Path, squatter: socket.socket) -> None:
    known = ports.settle(tmp_path / "ports.json", [], movable=True) | {"postgres": squatter.getsockname()[1]}
    ports.write(tmp_path / "ports.json", known)
    assert ports.settle(tmp_path / "ports.json", ["kafka"], movable=False) == known


@pytest.mark.parametrize(
    ("name", "server", "movable"), [("postgres", "postgres", True), ("kafka-controller", "kafka", False)]
)
def test_a_taken_port_that_no_other_program_knows_is_replaced(
    tmp_path: Path, squatter: socket.socket, name: str, server: str, movable: bool
) -> None:
    known = ports.settle(tmp_path / "ports.json", [], movable=True) | {name: squatter.getsockname()[1]}
    ports.write(tmp_path / "ports.json", known)
    moved = ports.settle(tmp_path / "ports.json", [server], movable=movable)
    assert moved[name] != known[name]
    assert {k: v for k, v in moved.items() if k != name} == {k: v for k, v in known.items() if k != name}
    assert ports.remembered(tmp_path / "ports.json") == moved
