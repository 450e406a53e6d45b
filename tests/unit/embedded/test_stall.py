"""A started process is waited for as long as it makes progress."""

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
from sluice.embedded.processes import Command
from sluice.embedded.server import Server
from sluice.embedded.stall import CPU_STEP_S, Activity, StallDetector, activity_of
from sluice.errors import EnvironmentFault

STILL = Activity(1.0, 10, 100)
BUSY = Activity(1.0 + CPU_STEP_S, 10, 100)
HOUSEKEEPING = Activity(1.0 + CPU_STEP_S / 2, 10, 100)
READING = Activity(1.0, 20, 100)
LOGGING = Activity(1.0, 10, 200)
ROTATED = Activity(1.0, 10, 0)
UNSEEN = Activity(0.0, 0, 0)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([(0, STILL), (89, STILL)], ""),
        ([(0, STILL), (91, STILL)], "made no progress for 91 s"),
        ([(0, STILL), (91, HOUSEKEEPING)], "made no progress for 91 s"),
        ([(0, STILL), (89, BUSY), (178, BUSY)], ""),
        ([(0, STILL), (89, BUSY), (180, BUSY)], "made no progress for 91 s"),
        ([(0, STILL), (89, READING), (178, READING)], ""),
        ([(0, STILL), (89, LOGGING), (178, LOGGING)], ""),
        ([(0, STILL), (89, ROTATED), (178, ROTATED)], ""),
        ([(0, UNSEEN), (91, UNSEEN)], "made no progress for 91 s"),
        ([(0, STILL), (60, HOUSEKEEPING), (89, BUSY), (150, BUSY)], ""),
        ([(at, Activity(at, at, at)) for at in range(0, 1_200, 60)], ""),
        ([(at, Activity(at, at, at)) for at in range(0, 1_300, 60)], "still works after 1260 s"),
    ],
)
def test_a_wait_ends_without_progress_or_after_twenty_minutes(
    samples: list[tuple[float, Activity]], reason: str
) -> None:
    detector = StallDetector(0.0)
    *before, last = [detector.reason_to_give_up(now, activity) for now, activity in samples]
    assert not any(before)
    assert reason in last
    assert bool(reason) == bool(last)


def program(tmp_path: Path, code: str) -> Command:
    return Command("test", [sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "test.log")


WORKS_IN_A_CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "while True: pass"])
"""
# The pause is that of the program, between two lines.
WRITES = """
import time
while True: print("a line", flush=True); time.sleep(0.05)
"""


@pytest.mark.parametrize(("code", "which"), [(WORKS_IN_A_CHILD, "cpu_s"), (WRITES, "log_bytes")])
def test_activity_counts_children_and_the_log(tmp_path: Path, code: str, which: str) -> None:
    process = processes.spawn(program(tmp_path, code), detach=False)
    try:
        before = activity_of(process, tmp_path / "test.log")
        while getattr(activity_of(process, tmp_path / "test.log"), which) <= getattr(before, which):
            assert processes.is_alive(process)
            time.sleep(0.05)  # between two checks
    finally:
        process.suspend()  # it starts no child that is not in the list
        for member in [*process.children(), process]:
            processes.end(member, [signal.SIGKILL], 5.0)


class Starting(Server):
    """Ready once its file exists; `code` is what it runs before that."""

    name = "starting"
    code = ""

    def prepare(self) -> None: ...

    def command(self, definitions: Sequence[str]) -> Command:
        argv = [sys.executable, "-c", self.code, *definitions]
        return Command(self.name, argv, cwd=self.layout.servers, log=self.layout.log(self.name))

    def is_ready(self) -> bool:
        return (self.layout.servers / "ready").exists()


class Slow(Starting):
    # It is slow for twice as long as a server may be without progress.
    code = """
import pathlib, time
for line in range(30): print(line, flush=True); time.sleep(0.1)
pathlib.Path("ready").touch(); time.sleep(300)
"""


class Stuck(Starting):
    code = "import time; time.sleep(300)"  # never ready


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CHECK_EVERY_S", 0.05)
    monkeypatch.setattr(server, "STALLED_S", 1.5)


@pytest.mark.usefixtures("short_waits")
def test_a_slow_server_that_makes_progress_is_waited_for(tmp_path: Path) -> None:
    slow, lines = Slow(Layout.of(tmp_path), {"starting": 1}), list[str]()
    slow.start(detach=False, cancelled=threading.Event(), progress=lines.append)
    assert any("starting is still starting" in line for line in lines)
    Slow.stop(slow.layout, 5.0)


@pytest.mark.usefixtures("short_waits")
def test_a_server_without_progress_is_reported_with_its_log(tmp_path: Path) -> None:
    stuck = Stuck(Layout.of(tmp_path), {"starting": 1})
    with pytest.raises(EnvironmentFault, match=r"made no progress for \d+ s.*read .*starting.log"):
        stuck.start(detach=False, cancelled=threading.Event())
    process = stuck.find()
    assert isinstance(process, psutil.Process)
    processes.end(process, [signal.SIGKILL], 5.0)
