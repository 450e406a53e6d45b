"""Contestants run as child processes, and an unexpected end is reported with its log."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.checkouts import commit_of
from bench.contestant import Job, Running, spawn
from bench.sampling import BenchError, RunProgress, ServerPids, timed_run


def job(folder: Path) -> Job:
    return Job("one", folder / "one", "kafka:9092", "", "", "one.", "group", ("in",), "out", 6, 100)


def python(code: str, of: Job) -> Running:
    def start() -> list[subprocess.Popen[bytes]]:
        return [spawn([sys.executable, "-c", code], of, "program")]

    running = Running(start, of.folder)
    running.resume()
    return running


def test_a_job_is_json_for_peers_that_run_in_another_python(tmp_path: Path) -> None:
    said = json.loads(json.dumps(job(tmp_path).to_json()))
    assert said["inputs"] == ["in"]
    assert said["folder"] == str(tmp_path / "one")


def test_a_process_that_ends_by_itself_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    running = python("import sys; print('no such topic'); sys.exit(3)", job(tmp_path))
    running.processes[0].wait(30)
    assert "exit code 3" in running.died()
    assert "no such topic" in running.died()


def test_a_run_ends_with_an_error_when_its_process_dies(tmp_path: Path) -> None:
    running = python("raise SystemExit(4)", job(tmp_path))
    with pytest.raises(BenchError, match="7 of 100 results existed when a process ended with exit code 4"):
        timed_run(running, ServerPids((), (), ()), lambda: RunProgress(7, False), 100, 60)


def test_a_run_that_takes_too_long_ends_with_an_error(tmp_path: Path) -> None:
    running = python("import time; time.sleep(600)", job(tmp_path))
    try:
        with pytest.raises(BenchError, match="only 7 of 100 results"):
            timed_run(running, ServerPids((), (), ()), lambda: RunProgress(7, False), 100, 0.1)
    finally:
        running.stop()


def test_a_run_is_over_when_everything_is_committed(tmp_path: Path) -> None:
    running = python("import time; time.sleep(600)", job(tmp_path))
    states = iter([RunProgress(0, False), RunProgress(20, False), RunProgress(100, False), RunProgress(100, True)])
    started = time.monotonic()
    try:
        found = timed_run(running, ServerPids((), (), ()), lambda: next(states), 100, 60)
    finally:
        running.stop()
    assert found.measured == 80
    assert 0 < found.rate <= 80 / 0.1  # two samples of 50 ms
    assert time.monotonic() - started < 60


def test_a_stopped_contestant_starts_again(tmp_path: Path) -> None:
    running = python("import time; time.sleep(600)", job(tmp_path))
    [first] = running.pids()
    running.pause()
    assert running.pids() == []
    running.resume()
    assert running.pids() not in ([], [first])
    running.stop()


def test_an_unknown_commit_is_named() -> None:
    with pytest.raises(BenchError, match="no_such_branch"):
        commit_of("no_such_branch")
