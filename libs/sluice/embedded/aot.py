"""A JDK ahead-of-time cache for the broker (JEP 483): with it Kafka starts in a third of the time.

Making one takes half a minute of processor time, so nobody waits for it: `aot_making` does it in a process of lowest
priority while servers run, some minutes after they started, and ends with them. The JVM ignores a cache that does not
fit, so its name says what it fits: a build of Java, wherever it is installed, these jars, these flags.
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
    """Where the cache for this Java, these jars and our flags lies, or would."""
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in class_path]
    key = hashlib.sha256(repr((java.build(), JVM, stats)).encode())
    return cache_dir() / f"{NAME}-{key.hexdigest()[:16]}.bin"


def jvm_flags(class_path: Sequence[Path]) -> list[str]:
    """The flags that make the broker use its cache; none while there is no cache."""
    java = find_java()
    file = cache_file(java, class_path)
    # Without the log setting it warns of stubs that it links anew, which is harmless.
    return [f"-XX:AOTCache={file}", "-Xlog:aot*=error"] if java.major >= OLDEST_MAJOR and file.exists() else []


def make_in_background(layout: Layout, *, detach: bool) -> None:
    """Have the cache made while the servers of this state directory run. Does nothing where one is being awaited."""
    marker = layout.marker(NAME)
    if find_java().major < OLDEST_MAJOR or processes.find(marker):
        return
    argv = [sys.executable, "-m", "sluice.embedded.aot_making", marker]
    env = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "SLUICE_CACHE_DIR") if name in os.environ}
    log = layout.log(NAME)
    processes.spawn(
        Command(NAME, argv, cwd=layout.servers, log=log, env=env, idle=True, delay_s=DELAY_S), detach=detach
    )
