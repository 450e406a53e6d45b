"""The ahead-of-time cache of the JDK (JEP 483) for the embedded Kafka broker. With it the broker starts in a third of
the time.

Creating the cache takes half a minute of processor time. So `aot_making` creates it in a process of lowest priority,
which starts some minutes after the servers and ends with them. The JVM ignores a cache that was created for another
Java, other jars or other flags. So the name of the cache file contains a hash of these three.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sluice.embedded import processes
from sluice.embedded.fetching import cache_dir
from sluice.embedded.java import Java, find_java
from sluice.embedded.kafka import JVM
from sluice.embedded.layout import Layout
from sluice.embedded.processes import Command

NAME = "kafka-aot"
OLDEST_MAJOR = 25  # the first JDK with JEP 514 and 515, which add profiles of methods to the cache
DELAY_S = 180.0


def cache_file(java: Java, class_path: Sequence[Path]) -> Path:
    """The path of the broker's ahead-of-time cache for this Java, the jars of `class_path`, and our JVM flags. The file
    may not exist yet."""
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in class_path]
    key = hashlib.sha256(repr((java.build(), JVM, stats)).encode())
    return cache_dir() / f"{NAME}-{key.hexdigest()[:16]}.bin"


def jvm_flags(class_path: Sequence[Path]) -> list[str]:
    """The JVM flags with which the broker starts from its cache of classes that were loaded ahead of time; empty if
    there is no cache."""
    java = find_java()
    file = cache_file(java, class_path)
    # The log setting hides warnings of the JVM that it links some stubs again. This linking costs no time.
    return [f"-XX:AOTCache={file}", "-Xlog:aot*=error"] if java.major >= OLDEST_MAJOR and file.exists() else []


def make_in_background(layout: Layout, *, detach: bool) -> None:
    """Start the process that creates the broker's ahead-of-time cache, unless it runs. It ends with the servers of this
    state directory."""
    marker = layout.marker(NAME)
    if find_java().major < OLDEST_MAJOR or processes.find(marker):
        return
    argv = [sys.executable, "-m", "sluice.embedded.aot_making", marker]
    env = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "SLUICE_CACHE_DIR") if name in os.environ}
    log = layout.log(NAME)
    processes.spawn(
        Command(NAME, argv, cwd=layout.servers, log=log, env=env, idle=True, delay_s=DELAY_S), detach=detach
    )
