"""Ahead-of-time caches: used only if they fit; no start waits for one."""

import os
from pathlib import Path

import psutil
import pytest

from sluice.embedded import aot, processes, running
from sluice.embedded.java import Java, find_java
from sluice.embedded.layout import Layout
from support.waiting import eventually

needs_a_new_java = pytest.mark.skipif(find_java().major < aot.OLDEST_MAJOR, reason="this Java cannot make such a cache")


@pytest.fixture(autouse=True)
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_CACHE_DIR", str(tmp_path))
    (tmp_path / "a.jar").write_bytes(b"jar")
    return tmp_path / "a.jar"


def test_a_cache_belongs_to_one_java_and_one_set_of_jars(jar: Path, tmp_path: Path) -> None:
    other = tmp_path / "java"
    other.touch()
    first = aot.of_kafka([jar]).file(find_java())
    assert aot.of_kafka([jar]).file(find_java()) == first
    assert aot.of_kafka([jar]).file(Java(other, 25)) != first
    os.utime(jar, (1, 1))
    assert aot.of_kafka([jar]).file(find_java()) != first


def test_two_installations_of_one_build_share_a_cache(jar: Path, tmp_path: Path) -> None:
    files = set()
    for home, modules in ((tmp_path / "a", b"25.0.2"), (tmp_path / "b", b"25.0.2"), (tmp_path / "c", b"25.0.10")):
        for name in ("bin", "lib"):
            (home / name).mkdir(parents=True)
        (home / "bin" / "java").touch()
        (home / "release").write_text('JAVA_VERSION="25"')
        (home / "lib" / "modules").write_bytes(modules)
        files.add(aot.of_kafka([jar]).file(Java(home / "bin" / "java", 25)))
    assert len(files) == 2


@needs_a_new_java
def test_the_broker_uses_a_cache_as_soon_as_there_is_one(jar: Path) -> None:
    assert aot.of_kafka([jar]).flags() == []
    file = aot.of_kafka([jar]).file(find_java())
    file.touch()
    assert f"-XX:AOTCache={file}" in aot.of_kafka([jar]).flags()


@needs_a_new_java
def test_the_maker_waits_at_lowest_priority_and_ends_with_the_servers(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "state")
    aot.make_in_background(layout, detach=False)
    aot.make_in_background(layout, detach=False)
    (maker,) = [p for p in psutil.process_iter() if layout.marker(aot.NAME) in processes.arguments(p)]
    eventually(lambda: maker.nice() == 19)
    running.stop(layout, [], deadline_s=5.0)
    assert not processes.is_alive(maker)
