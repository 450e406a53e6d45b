"""Creates the broker's ahead-of-time cache. `aot` starts this module as a process of its own.

It runs a broker in a scratch directory while the JVM records a profile. Then the JVM writes the cache from the profile,
and one rename puts the cache in its place. If the process is killed, it leaves at most a scratch directory, which the
next process deletes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sluice.embedded import ports, processes
from sluice.embedded.aot import NAME, OLDEST_MAJOR, cache_file
from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import cache_dir, fetch
from sluice.embedded.java import find_java
from sluice.embedded.kafka import JVM, Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.processes import Command
from sluice.embedded.state_lock import try_lock
from sluice.errors import SluiceError

STOP_DEADLINE_S = 300.0


def make() -> None:
    """Create the broker's ahead-of-time cache, unless it exists, another process creates it, or this Java cannot."""
    if find_java().major < OLDEST_MAJOR:
        return
    home, jars = cache_dir(), fetch(listed(["broker"]), print).of("broker")
    target = cache_file(find_java(), jars)
    with (home / f".{NAME}.lock").open("w") as lock:
        if not try_lock(lock, fcntl.LOCK_EX):
            return
        for left in home.glob(f".{NAME}-*"):  # the scratch directory of a process that was killed
            shutil.rmtree(left)
        if target.exists():
            return
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=home) as scratch:
            created = _train(Path(scratch), jars)
            for old in home.glob(f"{NAME}-*.bin"):
                old.unlink()
            os.replace(created, target)


def _train(scratch: Path, jars: Sequence[Path]) -> Path:
    layout = Layout.of(scratch)
    profile, created = scratch / "profile", scratch / "cache"
    record = ["-XX:AOTMode=record", f"-XX:AOTConfiguration={profile}"]
    broker = Kafka(layout, ports.settle(layout.ports, ["kafka"], movable=True), jars, record)
    broker.start(detach=False, cancelled=threading.Event())
    _use(broker.bootstrap_servers)
    Kafka.stop(layout, STOP_DEADLINE_S)
    flags = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={profile}", f"-XX:AOTCache={created}"]
    argv = [str(find_java().path), *JVM, *flags, "-cp", broker.class_path]
    processes.run(Command("assembly", argv, cwd=scratch, log=layout.log("assembly")))
    return created


def _use(bootstrap_servers: str) -> None:
    """Create a topic and write a record, so that the cache contains the classes that the broker needs for this."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic("warm", 1, 1)])["warm"].result(60)
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce("warm", b"up")
    producer.flush(60)


if __name__ == "__main__":
    # SIGTERM raises SystemExit, which unwinds the stack, so that the scratch directory is deleted.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        make()
    except SluiceError as error:
        sys.exit(f"sluice: {error}")
