"""A run that gets a signal ends in order, if the controller gets the signal, or a worker, or all processes at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.ending import workers
from support.pace import within
from support.repository import ROOT
from support.waiting import eventually

SUITE = """
import os, pathlib, time, pytest
from sluice.embedded import processes

@pytest.fixture(scope="session")
def server(tmp_path_factory, worker_id):
    command = processes.Command("server", ["/bin/sleep", "600"], cwd=pathlib.Path.cwd(), log=pathlib.Path("log"))
    running = processes.spawn(command, detach=False)
    pathlib.Path(f"server-{worker_id}").write_text(str(running.pid))
    yield running
    time.sleep(1)  # the time that a server takes to end; a second signal must not cut it short
    processes.end(running, [15, 9], 5.0)
    pathlib.Path(f"ended-{worker_id}").touch()

@pytest.mark.parametrize("number", range(2))
def test_waits(server, number):
    time.sleep(600)  # until the test ends it
"""
PLUGINS = ("-p", "support.ending")


def pids_of_servers(directory: Path, count: int) -> list[int]:
    """Wait until the workers have started `count` servers. Returns the process ids."""

    def found() -> list[str]:
        texts = [file.read_text() for file in directory.glob("server-*")]
        return texts if len(texts) == count and all(texts) else []

    return [int(text) for text in eventually(found, "the servers to be started")]


def signal_controller(run: psutil.Process, number: int) -> None:
    run.send_signal(number)


def signal_controller_twice(run: psutil.Process, number: int) -> None:
    run.send_signal(number)
    run.send_signal(number)


def signal_a_worker(run: psutil.Process, number: int) -> None:
    workers(run)[0].send_signal(number)


def signal_all(run: psutil.Process, number: int) -> None:
    os.killpg(run.pid, number)


@pytest.mark.parametrize(
    ("send", "number"),
    [
        (signal_controller, signal.SIGINT),
        (signal_controller_twice, signal.SIGTERM),
        (signal_a_worker, signal.SIGTERM),
        (signal_all, signal.SIGTERM),
    ],
)
def test_a_run_that_gets_a_signal_ends_its_servers_and_prints_its_summary(
    tmp_path: Path,
    start: Callable[..., subprocess.Popen[str]],
    send: Callable[[psutil.Process, int], None],
    number: signal.Signals,
) -> None:
    run = start(SUITE, *PLUGINS, "-n", "2")
    servers = pids_of_servers(tmp_path, 2)
    send(psutil.Process(run.pid), number)
    said = run.communicate(timeout=within(60))[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "short test summary info" in said or "no tests ran" in said or "KeyboardInterrupt" in said, said
    assert not [pid for pid in servers if psutil.pid_exists(pid)]
    assert len(list(tmp_path.glob("ended-*"))) == 2, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_make_alone_ends_its_run(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_given.py").write_text(SUITE)
    pytest_here = f"{sys.executable} -m pytest -p no:cacheprovider --rootdir . -p support.ending test_given.py"
    (tmp_path / "Makefile").write_text(f"test:\n\t{pytest_here}\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    env.pop("PYTEST_XDIST_WORKER", None)
    make = ["sh", "-c", "trap - INT; exec make test"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(make, cwd=tmp_path, env=env, text=True, **pipe) as run:  # type: ignore[call-overload]
        (server,) = pids_of_servers(tmp_path, 1)
        run.send_signal(number)
        said = run.communicate(timeout=within(60))[0]
    assert "KeyboardInterrupt" in said
    assert not psutil.pid_exists(server)
    assert (tmp_path / "ended-master").exists()


def test_a_run_without_workers_ends_likewise(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    run = start(SUITE, *PLUGINS)
    (server,) = pids_of_servers(tmp_path, 1)
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=within(60))[0]
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "KeyboardInterrupt" in said
    assert not psutil.pid_exists(server)
    assert (tmp_path / "ended-master").exists()
