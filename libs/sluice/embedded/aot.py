"""A JDK ahead-of-time cache for the broker (JEP 483): with it Kafka starts in a third of the time.

Creating one takes half a minute of processor time. So `aot_making` does it in a process of lowest priority, some
minutes after the servers started, and ends with them. The JVM ignores a cache that does not fit. So its name contains
a hash of what it fits: the build of Java, wherever it is installed, the jars and the flags.
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
OLDEST_MAJOR = 25  # JEP 514 and 515: profiles of methods are in the cache as well
DELAY_S = 180.0


def cache_file(java: Java, class_path: Sequence[Path]) -> Path:
    """The path of the cache for this Java, these jars and our flags; the file may not exist."""
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in class_path]
    key = hashlib.sha256(repr((java.build(), JVM, stats)).encode())
    return cache_dir() / f"{NAME}-{key.hexdigest()[:16]}.bin"


def jvm_flags(class_path: Sequence[Path]) -> list[str]:
    """The flags that make the broker use its cache; none without a cache."""
    java = find_java()
    file = cache_file(java, class_path)
    # Without the log setting it warns of stubs that it links again; that costs nothing.
    return [f"-XX:AOTCache={file}", "-Xlog:aot*=error"] if java.major >= OLDEST_MAJOR and file.exists() else []


def make_in_background(layout: Layout, *, detach: bool) -> None:
    """Start the process that creates the cache, unless one runs. It ends with the servers of this state directory."""
    marker = layout.marker(NAME)
    if find_java().major < OLDEST_MAJOR or processes.find(marker):
        return
    argv = [sys.executable, "-m", "sluice.embedded.aot_making", marker]
    env = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "SLUICE_CACHE_DIR") if name in os.environ}
    log = layout.log(NAME)
    processes.spawn(
        Command(NAME, argv, cwd=layout.servers, log=log, env=env, idle=True, delay_s=DELAY_S), detach=detach
    )
