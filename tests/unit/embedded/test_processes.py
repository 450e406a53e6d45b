"""Server processes live as long as they should: session ones die with their starter, detached ones do not."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from sluice.embedded import processes
from sluice.embedded.layout import Layout
from sluice.embedded.processes import Command
from sluice.embedded.server import Server
from sluice.errors import EnvironmentFault
from support.pace import within
from support.waiting import eventually

# Each of these programs runs until the test ends it.
SLEEPER = "import time; time.sleep(300)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"
)


@pytest.fixture
def marker() -> Iterator[str]:
    marker = f"sluice.server=test:{uuid.uuid4().hex}"
    yield marker
    if process := processes.find(marker):
        process.kill()


def command(marker: str, tmp_path: Path, program: str = SLEEPER) -> Command:
    return Command("test", [sys.executable, "-c", program, f"-D{marker}"], cwd=tmp_path, log=tmp_path / "test.log")


STARTER = f"""
import sys, time
from pathlib import Path
from sluice.embedded.processes import Command, spawn
marker, folder, detach = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "detach"
spawn(Command("test", [sys.executable, "-c", {SLEEPER!r}, marker], cwd=folder, log=folder / "test.log"), detach=detach)
print("started", flush=True)
time.sleep(300)
"""


def start_and_kill_the_starter(marker: str, tmp_path: Path, mode: str) -> None:
    arguments = [sys.executable, "-c", STARTER, marker, str(tmp_path), mode]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        starter.kill()


def sleepers(marker: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter() if SLEEPER in processes.arguments(p) and marker in processes.arguments(p)]


def test_a_session_server_dies_with_its_killed_starter(marker: str, tmp_path: Path) -> None:
    start_and_kill_the_starter(marker, tmp_path, "session")
    eventually(lambda: not any(processes.is_alive(p) for p in sleepers(marker)))


def test_a_detached_server_outlives_its_killed_starter(marker: str, tmp_path: Path) -> None:
    start_and_kill_the_starter(marker, tmp_path, "detach")
    (sleeper,) = sleepers(marker)
    assert processes.is_alive(sleeper)


def test_a_server_survives_the_thread_that_asked_for_it(marker: str, tmp_path: Path) -> None:
    thread = threading.Thread(target=processes.spawn, args=(command(marker, tmp_path),), kwargs={"detach": False})
    thread.start()
    thread.join()
    server = processes.find(marker)
    assert server is not None
    # Long enough for the signal that must not come: the kernel sends it as the thread ends.
    with pytest.raises(psutil.TimeoutExpired):
        server.wait(0.3)
    processes.end(server, [signal.SIGTERM], 5.0)


def test_a_server_that_ignores_sigterm_is_ended_all_the_same(marker: str, tmp_path: Path) -> None:
    server = processes.spawn(command(marker, tmp_path, STUBBORN), detach=False)
    eventually(lambda: "deaf" in processes.last_lines(tmp_path / "test.log"))
    processes.end(server, [signal.SIGTERM, signal.SIGKILL], deadline_s=3.0)
    assert not processes.is_alive(server)


class Failing(Server):
    name = "failing"

    def prepare(self) -> None: ...

    def command(self, definitions: Sequence[str]) -> Command:
        argv = [sys.executable, "-c", "import sys; sys.exit('disk is full')"]
        return Command(self.name, argv, cwd=self.layout.servers, log=self.layout.log(self.name))

    def is_ready(self) -> bool:
        return False


@pytest.mark.parametrize("detach", [True, False])
def test_a_server_that_ends_at_once_is_an_error_with_the_end_of_its_log(tmp_path: Path, detach: bool) -> None:
    server = Failing(Layout.of(tmp_path), {"failing": 1})
    with pytest.raises(EnvironmentFault, match=r"starting failing: it ended(.|\n)*disk is full(.|\n)*dev reset"):
        server.start(detach=detach, cancelled=threading.Event())


def test_a_long_log_is_set_aside_and_a_short_one_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("0123456789")
    processes.rotate(log, bytes_max=10)
    assert log.exists()
    processes.rotate(log, bytes_max=9)
    assert not log.exists()
    assert (tmp_path / "a.log.1").read_text() == "0123456789"


def test_a_program_that_fails_or_stands_still_is_an_error_and_leaves_no_process(marker: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="no space"):
        processes.run(command(marker, tmp_path, "import sys; sys.exit('no space')"))
    with pytest.raises(EnvironmentFault):
        processes.run(command(marker, tmp_path), stalled_s=0.5)
    assert processes.find(marker) is None


def test_servers_that_end_side_by_side_are_reaped_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        pid = 0

        def poll(self) -> int:
            time.sleep(0.05)  # the other thread must find it in the list as well
            return 0

    children = [Ended()]
    monkeypatch.setattr(processes, "_children", children)
    with ThreadPoolExecutor(2) as pool:
        for reaped in [pool.submit(processes.reap) for _ in range(2)]:
            reaped.result(within(30))
    assert children == []
