"""Runs pytest in a test: on a small suite, with the plugin that the test is about."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import pace
from support.repository import ROOT

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts pytest with the given text of a test file, and with more arguments. A run that is still active after the
    test is killed."""
    runs: list[subprocess.Popen[str]] = []

    def started(text: str, *arguments: str) -> subprocess.Popen[str]:
        (tmp_path / "test_given.py").write_text(text)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path]), pace.VARIABLE: "1"}
        env.pop("PYTEST_XDIST_WORKER", None)
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        run = subprocess.Popen(
            [*command, *arguments, str(tmp_path)],
            env=env,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        runs.append(run)
        return run

    yield started
    for run in runs:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


@pytest.fixture
def output_of(start: Start) -> Callable[..., str]:
    """Runs pytest as `start` does, and returns its output."""

    def output(text: str, *arguments: str) -> str:
        return start(text, *arguments).communicate(timeout=pace.within(60))[0]

    return output
