"""What has begun is waited for as long as it makes progress."""

import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from sluice.embedded import processes, server
from sluice.embedded.layout import Layout
from sluice.embedded.patience import CPU_STEP_S, Patience, Signs, signs
from sluice.embedded.processes import Command
from sluice.embedded.server import Server
from sluice.errors import EnvironmentFault

STILL = Signs(1.0, 10, 100)
BUSY = Signs(1.0 + CPU_STEP_S, 10, 100)
HOUSEKEEPING = Signs(1.0 + CPU_STEP_S / 2, 10, 100)
READING = Signs(1.0, 20, 100)
TELLING = Signs(1.0, 10, 200)
ROTATED = Signs(1.0, 10, 0)
UNSEEN = Signs(0.0, 0, 0)


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([(0, STILL), (89, STILL)], ""),
        ([(0, STILL), (91, STILL)], "stood still for 91 s"),
        ([(0, STILL), (91, HOUSEKEEPING)], "stood still for 91 s"),
        ([(0, STILL), (89, BUSY), (178, BUSY)], ""),
        ([(0, STILL), (89, BUSY), (180, BUSY)], "stood still for 91 s"),
        ([(0, STILL), (89, READING), (178, READING)], ""),
        ([(0, STILL), (89, TELLING), (178, TELLING)], ""),
        ([(0, STILL), (89, ROTATED), (178, ROTATED)], ""),
        ([(0, UNSEEN), (91, UNSEEN)], "stood still for 91 s"),
        ([(0, STILL), (60, HOUSEKEEPING), (89, BUSY), (150, BUSY)], ""),
        ([(at, Signs(at, at, at)) for at in range(0, 1_200, 60)], ""),
        ([(at, Signs(at, at, at)) for at in range(0, 1_300, 60)], "still at work after 1260 s"),
    ],
)
def test_a_wait_ends_when_nothing_moves_or_after_twenty_minutes(looks: list[tuple[float, Signs]], said: str) -> None:
    patience = Patience(0.0)
    *before, last = [patience.spent(now, seen) for now, seen in looks]
    assert not any(before)
    assert said in last
    assert bool(said) == bool(last)


def program(tmp_path: Path, code: str) -> Command:
    return Command("test", [sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "test.log")


WORKS_IN_A_CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "while True: pass"])
"""
WRITES = """
import time
while True: print("a line", flush=True); time.sleep(0.05)
"""


@pytest.mark.parametrize(("code", "which"), [(WORKS_IN_A_CHILD, "cpu_s"), (WRITES, "log_bytes")])
def test_signs_of_work_are_seen_in_children_and_in_the_log(tmp_path: Path, code: str, which: str) -> None:
    process = processes.spawn(program(tmp_path, code), detach=False)
    try:
        before = signs(process, tmp_path / "test.log")
        while getattr(signs(process, tmp_path / "test.log"), which) <= getattr(before, which):
            assert processes.is_alive(process)
            time.sleep(0.05)
    finally:
        for member in [*process.children(), process]:
            processes.end(member, [signal.SIGKILL], 5.0)


class Starting(Server):
    """Ready when its file is there; `code` is what it does meanwhile."""

    name = "starting"
    code = ""

    def prepare(self) -> None: ...

    def command(self, definitions: Sequence[str]) -> Command:
        argv = [sys.executable, "-c", self.code, *definitions]
        return Command(self.name, argv, cwd=self.layout.servers, log=self.layout.log(self.name))

    def is_ready(self) -> bool:
        return (self.layout.servers / "ready").exists()


class Slow(Starting):
    code = """
import pathlib, time
for line in range(30): print(line, flush=True); time.sleep(0.1)
pathlib.Path("ready").touch(); time.sleep(300)
"""


class Stuck(Starting):
    code = "import time; time.sleep(300)"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(server, "STALLED_S", 1.5)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_needs_longer_than_the_patience_with_a_silent_one_is_waited_for(tmp_path: Path) -> None:
    slow, told = Slow(Layout.of(tmp_path), {"starting": 1}), list[str]()
    slow.start(detach=False, cancelled=threading.Event(), progress=told.append)
    assert any("starting is still starting" in line for line in told)
    Slow.stop(slow.layout, 5.0)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stands_still_is_told_with_its_log(tmp_path: Path) -> None:
    stuck = Stuck(Layout.of(tmp_path), {"starting": 1})
    with pytest.raises(EnvironmentFault, match=r"stood still for \d+ s.*read .*starting.log"):
        stuck.start(detach=False, cancelled=threading.Event())
    process = stuck.find()
    assert isinstance(process, psutil.Process)
    processes.end(process, [signal.SIGKILL], 5.0)
