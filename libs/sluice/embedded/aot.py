"""Ahead-of-time caches of the JDK (JEP 483) for the embedded Kafka broker and the schema registry.

With its cache, the broker starts in a third of the time, and the registry with 2.1 instead of 4.5 s of processor time.

Creating the caches takes more than a minute of processor time. So `aot_making` creates them in a process of lowest
priority, which starts some minutes after the servers and ends with them. The JVM ignores a cache that was created for
another Java, other jars or other flags. So the name of a cache file contains a hash of these three.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.embedded import kafka, processes, registry
from sluice.embedded.fetching import cache_dir
from sluice.embedded.java import Java, find_java
from sluice.embedded.layout import Layout
from sluice.embedded.processes import Command

NAME = "aot"  # of the process that creates the caches
OLDEST_MAJOR = 25  # the first JDK with JEP 514 and 515, which add profiles of methods to the cache
DELAY_S = 180.0


@dataclass(frozen=True)
class AotCache:
    """The ahead-of-time cache of one server. `jvm` and `class_path`: the flags and the jars with which it starts."""

    name: str
    jvm: tuple[str, ...]
    class_path: tuple[Path, ...]

    def file(self, java: Java) -> Path:
        """The path of the cache for this Java. The file may not exist yet."""
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self.class_path]
        key = hashlib.sha256(repr((java.build(), self.jvm, stats)).encode())
        return cache_dir() / f"{self.name}-{key.hexdigest()[:16]}.bin"

    def flags(self) -> list[str]:
        """The JVM flags with which the server starts from its cache; empty if there is no cache."""
        java = find_java()
        if java.major < OLDEST_MAJOR or not (file := self.file(java)).exists():
            return []
        # The log setting hides warnings of the JVM that it links some stubs again. This linking costs no time.
        return [f"-XX:AOTCache={file}", "-Xlog:aot*=error"]


def of_kafka(jars: Sequence[Path]) -> AotCache:
    """The cache of the broker. `jars`: its class path."""
    return AotCache("broker-aot", kafka.JVM, tuple(jars))


def of_registry(application: Path) -> AotCache:
    """The cache of the registry. `application`: the directory with its unpacked archive."""
    return AotCache("registry-aot", registry.JVM, tuple(registry.class_path(application)))


def make_in_background(layout: Layout, *, detach: bool) -> None:
    """Start the process that creates the missing caches, unless it runs. It ends with the servers of this state
    directory."""
    marker = layout.marker(NAME)
    if find_java().major < OLDEST_MAJOR or processes.find(marker):
        return
    argv = [sys.executable, "-m", "sluice.embedded.aot_making", marker]
    env = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "SLUICE_CACHE_DIR") if name in os.environ}
    log = layout.log(NAME)
    processes.spawn(
        Command(NAME, argv, cwd=layout.servers, log=log, env=env, idle=True, delay_s=DELAY_S), detach=detach
    )
