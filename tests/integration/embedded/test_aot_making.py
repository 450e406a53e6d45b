"""The ahead-of-time caches are created completely or not at all."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sluice.embedded import aot, processes, registry
from sluice.embedded.aot import AotCache
from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import cache_dir, fetch
from sluice.embedded.java import find_java
from support.pace import within
from support.waiting import eventually

pytestmark = pytest.mark.skipif(find_java().major < aot.OLDEST_MAJOR, reason="this Java cannot make such a cache")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[AotCache, AotCache]:
    """The caches of the broker and of the registry, in an empty cache directory. The Java files are those of the user's
    cache."""
    fetched = fetch(listed(["broker", "registry"]), lambda _line: None)
    application = fetched.of("registry")[0]
    monkeypatch.setenv("SLUICE_ARTIFACTS_DIR", str(cache_dir()))
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path))
    unpacked = tmp_path / application.name
    unpacked.symlink_to(application)
    return aot.of_kafka(fetched.of("broker")), aot.of_registry(unpacked)


@contextmanager
def maker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "sluice.embedded.aot_making"], env=dict(os.environ)) as process:
        try:
            yield process
        finally:
            process.kill()


def left_in(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("*aot*") if not path.name.endswith(".lock")}


def javas_of(cache: Path) -> list[psutil.Process]:
    """The processes that work on a scratch directory of this cache."""
    scratch = f"{cache}/.{aot.NAME}-"
    return [p for p in psutil.process_iter() if any(scratch in argument for argument in processes.arguments(p))]


def with_cache(cache: AotCache, main_class: str) -> Sequence[str]:
    """The command line of a server whose JVM ends with an error if its cache does not fit."""
    flags = [*cache.jvm, *cache.flags(), "-XX:AOTMode=on"]
    return [str(find_java().path), *flags, "-cp", ":".join(map(str, cache.class_path)), main_class]


@pytest.mark.usefixtures("caches")
def test_a_maker_that_is_ended_leaves_neither_a_cache_nor_a_process(tmp_path: Path) -> None:
    with maker() as process:
        eventually(lambda: any("kafka.Kafka" in processes.arguments(p) for p in javas_of(tmp_path)), "its broker", 120)
        assert process.poll() is None
        process.terminate()
        assert process.wait(within(60)) == 0
    for java in javas_of(tmp_path):
        java.wait(within(30))
    assert left_in(tmp_path) == set()


@pytest.mark.slow
def test_the_caches_appear_complete_and_the_jvm_accepts_them(tmp_path: Path, caches: tuple[AotCache, AotCache]) -> None:
    with maker() as process:
        assert process.wait(within(280)) == 0
    assert left_in(tmp_path) == {cache.file(find_java()).name for cache in caches}
    of_kafka, of_registry = caches
    broker = with_cache(of_kafka, "kafka.Kafka")
    done = subprocess.run(broker, capture_output=True, text=True, timeout=within(60), check=False)
    assert "USAGE" in done.stdout + done.stderr
    server = with_cache(of_registry, registry.MAIN_CLASS)
    env = {"APICURIO_STORAGE_SQL_KIND": "nothing", "QUARKUS_HTTP_PORT": "0", "QUARKUS_MANAGEMENT_PORT": "0"}
    done = subprocess.run(server, capture_output=True, text=True, timeout=within(60), check=False, env=env)
    assert "Unable to use AOT cache" not in done.stdout + done.stderr
    assert "io.apicurio" in done.stdout + done.stderr
