"""Creates the missing ahead-of-time caches. `aot` starts this module as a process of its own.

It runs each server in a scratch directory while the JVM records a profile. Then the JVM writes the cache from the
profile, and one rename puts the cache in its place. If the process is killed, it leaves at most a scratch directory,
which the next process deletes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from sluice.embedded import aot, ports, processes
from sluice.embedded.aot import NAME, OLDEST_MAJOR, AotCache
from sluice.embedded.artifacts import listed
from sluice.embedded.fetching import FetchedArtifacts, cache_dir, fetch
from sluice.embedded.java import find_java
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.processes import Command
from sluice.embedded.registry import API, RegistryServer
from sluice.embedded.state_lock import try_lock
from sluice.errors import SluiceError
from sluice.kafka.topics import Topics

STOP_DEADLINE_S = 300.0

Train = Callable[[Layout, FetchedArtifacts, Sequence[str]], None]
"""Starts a server with the given JVM flags, uses it, and stops it."""


def make() -> None:
    """Create each missing cache, unless another process creates them, or this Java cannot."""
    if find_java().major < OLDEST_MAJOR:
        return
    home, fetched = cache_dir(), fetch(listed(["broker", "registry"]), print)
    caches: dict[AotCache, Train] = {
        aot.of_kafka(fetched.of("broker")): _train_kafka,
        aot.of_registry(fetched.of("registry")[0]): _train_registry,
    }
    with (home / f".{NAME}.lock").open("w") as lock:
        if not try_lock(lock, fcntl.LOCK_EX):
            return
        for left in home.glob(f".{NAME}-*"):  # the scratch directory of a process that was killed
            shutil.rmtree(left)
        for cache, train in caches.items():
            target = cache.file(find_java())
            if target.exists():
                continue
            with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=home) as scratch:
                created = _create(cache, train, Path(scratch), fetched)
                for old in home.glob(f"{cache.name}-*.bin"):
                    old.unlink()
                os.replace(created, target)


def _create(cache: AotCache, train: Train, scratch: Path, fetched: FetchedArtifacts) -> Path:
    layout = Layout.of(scratch)
    profile, created = scratch / "profile", scratch / "cache"
    train(layout, fetched, ["-XX:AOTMode=record", f"-XX:AOTConfiguration={profile}"])
    flags = ["-XX:AOTMode=create", f"-XX:AOTConfiguration={profile}", f"-XX:AOTCache={created}"]
    argv = [str(find_java().path), *cache.jvm, *flags, "-cp", ":".join(map(str, cache.class_path))]
    processes.run(Command("assembly", argv, cwd=scratch, log=layout.log("assembly")))
    return created


def _train_kafka(layout: Layout, fetched: FetchedArtifacts, record: Sequence[str]) -> None:
    """Do what stages do at their start, so that the cache contains the classes that the broker needs for this."""
    broker = Kafka(layout, ports.settle(layout.ports, ["kafka"], movable=True), fetched.of("broker"), record)
    broker.start(detach=False, cancelled=threading.Event())
    config: dict[str, Any] = {"bootstrap.servers": broker.bootstrap_servers}
    admin = AdminClient(config)
    admin.create_topics([NewTopic("warm", 1, 1, config={"cleanup.policy": "compact"})])["warm"].result(60)
    Topics(admin, 60).await_leaders(["warm"])  # a broker does not know a topic in the moment after its creation
    topic = ConfigResource(ResourceType.TOPIC, "warm")
    admin.describe_configs([topic])[topic].result(60)
    consumer = Consumer({**config, "group.id": "warm", "group.protocol": "consumer", "auto.offset.reset": "earliest"})
    consumer.subscribe(["warm"])
    producer = Producer({**config, "transactional.id": "warm", "compression.type": "zstd"})
    producer.init_transactions(60)
    for _ in range(600):  # the group assigns the partition within a minute
        if consumer.poll(0.1) or consumer.assignment():
            break
    consumer.committed([TopicPartition("warm", 0)], timeout=60)
    producer.begin_transaction()
    producer.produce("warm", b"up", b"key")
    producer.send_offsets_to_transaction([TopicPartition("warm", 0, 0)], consumer.consumer_group_metadata(), 60)
    producer.commit_transaction(60)
    consumer.consume(1, timeout=60)
    consumer.close()
    Kafka.stop(layout, STOP_DEADLINE_S)


def _train_registry(layout: Layout, fetched: FetchedArtifacts, record: Sequence[str]) -> None:
    """Register a schema. It is kept in memory: with Postgres as its storage, the registry would start no faster."""
    chosen = ports.settle(layout.ports, ["registry"], movable=True)
    server = RegistryServer(layout, chosen, fetched.of("registry")[0], None, record)
    server.start(detach=False, cancelled=threading.Event())
    connection = HTTPConnection(LOOPBACK, server.port, timeout=60.0)
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    connection.request("POST", f"{API}/subjects/warm/versions", b'{"schema": "\\"string\\""}', headers)
    connection.getresponse().read()
    connection.close()
    RegistryServer.stop(layout, STOP_DEADLINE_S)


if __name__ == "__main__":
    # SIGTERM raises SystemExit, which unwinds the stack, so that the scratch directory is deleted.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        make()
    except SluiceError as error:
        sys.exit(f"sluice: {error}")
