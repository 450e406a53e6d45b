"""The broker's ahead-of-time cache is created completely or not at all."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sluice.embedded import aot, processes
from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import cache_dir, fetch
from sluice.embedded.java import find_java
from sluice.embedded.kafka import JVM
from support.pace import within
from support.waiting import eventually

pytestmark = pytest.mark.skipif(find_java().major < aot.OLDEST_MAJOR, reason="this Java cannot make such a cache")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory. The jars are read from the user's cache."""
    fetch(listed(["broker"]), lambda _line: None)
    monkeypatch.setenv("SLUICE_ARTIFACTS_DIR", str(cache_dir()))
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path))
    return tmp_path


@contextmanager
def maker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "sluice.embedded.aot_making"], env=dict(os.environ)) as process:
        try:
            yield process
        finally:
            process.kill()


def left_in(cache: Path) -> list[str]:
    return [path.name for path in cache.glob(f"*{aot.NAME}*") if not path.name.endswith(".lock")]


def javas_of(cache: Path) -> list[psutil.Process]:
    """The processes that work on a scratch directory of this cache."""
    scratch = f"{cache}/.{aot.NAME}-"
    return [p for p in psutil.process_iter() if any(scratch in argument for argument in processes.arguments(p))]


def test_a_maker_that_is_ended_leaves_neither_a_cache_nor_a_process(cache: Path) -> None:
    with maker() as process:
        eventually(lambda: any("kafka.Kafka" in processes.arguments(p) for p in javas_of(cache)), "its broker", 120)
        assert process.poll() is None
        process.terminate()
        assert process.wait(within(60)) == 0
    for java in javas_of(cache):
        java.wait(within(30))
    assert left_in(cache) == []


@pytest.mark.slow
def test_the_cache_appears_complete_and_the_jvm_accepts_it(cache: Path) -> None:
    with maker() as process:
        assert process.wait(within(280)) == 0
    jars = fetch(listed(["broker"]), lambda _line: None).of("broker")
    assert left_in(cache) == [aot.cache_file(find_java(), jars).name]
    flags = [*JVM, *aot.jvm_flags(jars), "-XX:AOTMode=on"]  # `on`: ends with an error if it does not fit
    command = [str(find_java().path), *flags, "-cp", ":".join(map(str, jars)), "kafka.Kafka"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=within(60), check=False)
    assert "USAGE" in done.stdout + done.stderr
