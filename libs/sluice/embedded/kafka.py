"""The embedded Kafka broker: Apache Kafka in KRaft mode, with broker and controller in one process.

It is configured for development: a small heap, few partitions of internal topics, replication factor 1.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.embedded.fetching import cache_dir
from sluice.embedded.java import find_java
from sluice.embedded.layout import Layout, created_whole
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.processes import Command, run
from sluice.embedded.server import Server

# The files that Kafka's format tool writes into the data directory. If the last one is missing, the directory is not
# formatted.
FORMATTED = ("bootstrap.checkpoint", "meta.properties")
# The cluster id is fixed: a random one may start with `-`, which Kafka's format tool reads as an option.
CLUSTER_ID = "sluice-embedded-kafka1"
# The JVM uses only its first compiler (C1): these brokers live for minutes, and in that time the optimizing compiler
# costs more than it saves. Processor time for the first 600,000 records and 300 transactions: 6 s instead of 11 s, and
# the same for later records. A test file that creates 400 topics: 35 s instead of 62 s.
JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1")
INTERNAL_TOPICS_WITHIN_S = 10.0
MESSAGE_BYTES_MAX = 16 * 2**20 + 2**20  # the largest limit of our topics, 16 MiB, and 1 MiB for headers and framing

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "message.max.bytes": MESSAGE_BYTES_MAX,
    "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    # The broker's log cleaner allocates its whole deduplication buffer at its start; the default is 128 MiB.
    "log.cleaner.dedupe.buffer.size": 8 * 2**20,
    # There is only one broker, so internal topics have one replica.
    "offsets.topic.num.partitions": 4,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Committed offsets are kept for 30 days, so that a stage that was stopped for weeks still finds them.
    "offsets.retention.minutes": 30 * 24 * 60,
    # With these settings of consumer groups, the partitions of a killed member move to another member in 6 s instead of
    # 45 s.
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.heartbeat.interval.ms": 2000,
    "group.consumer.min.heartbeat.interval.ms": 1000,
}

# The log files are rotated, so that a broker that runs for weeks does not fill the disk.
LOG4J = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d] %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 8MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
"""


class Kafka(Server):
    name = "kafka"

    def __init__(
        self,
        layout: Layout,
        ports: Mapping[str, int],
        class_path: Sequence[Path],
        aot_flags: Sequence[str] = (),
    ) -> None:
        super().__init__(layout, ports)
        self.aot_flags = aot_flags
        self.bootstrap_servers = f"{LOOPBACK}:{self.port}"
        self.controller_port = ports["kafka-controller"]
        self.class_path = ":".join(map(str, class_path))

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "server.properties").write_text(properties(self.settings()))
        (self.home / "log4j2.properties").write_text(LOG4J.format(log=f"../{self.log.name}"))
        if not (self.home / "data" / "meta.properties").exists():
            self._format()

    def settings(self) -> dict[str, object]:
        listener, controller = self.bootstrap_servers, f"{LOOPBACK}:{self.controller_port}"
        return SETTINGS | {
            "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{listener}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": "data",
        }

    def _format(self) -> None:
        """Format the broker's data directory, or copy the files of an earlier formatting, which are the same for all
        embedded brokers.

        Formatting starts a JVM and takes 2.5 s of processor time.
        """
        key = hashlib.sha256(f"{SETTINGS} {CLUSTER_ID} {self.class_path}".encode()).hexdigest()[:16]
        formatted, data = cache_dir() / f"kafka-formatted-{key}", self.home / "data"
        with suppress(OSError):  # if the copy fails, Kafka's tool formats the directory or reports the cause
            data.mkdir(exist_ok=True)
            for name in FORMATTED:
                shutil.copyfile(formatted / name, copy := data / f"{name}.new")
                copy.rename(data / name)
            return
        self._format_with_kafka()
        with created_whole(formatted) as scratch:
            for name in FORMATTED:
                shutil.copyfile(data / name, scratch / name)

    def _format_with_kafka(self) -> None:
        arguments = ["format", f"--cluster-id={CLUSTER_ID}", "--ignore-formatted", "-c", "server.properties"]
        argv = [*self._java("kafka.tools.StorageTool"), *arguments]
        run(Command("kafka-format", argv, cwd=self.home, log=self.log))

    def _java(self, main_class: str, *flags: str) -> list[str]:
        log4j = "-Dlog4j2.configurationFile=log4j2.properties"
        return [str(find_java().path), *JVM, log4j, *flags, "-cp", self.class_path, main_class]

    def command(self, definitions: Sequence[str]) -> Command:
        flags = [*self.aot_flags, *(f"-D{definition}" for definition in definitions)]
        argv = [*self._java("kafka.Kafka", *flags), "server.properties"]
        return Command(self.name, argv, cwd=self.home, log=self.log)

    def create_internal_topics(self) -> None:
        """Have a new broker create its topics of groups and transactions. Blocks until they are loaded.

        Otherwise the broker creates them for its first clients, which then wait for seconds: a client tries again only
        after half a second. An error is ignored, because those clients meet it again and report it.
        """
        if (self.home / "data" / "__transaction_state-0").exists():
            return
        client = {"bootstrap.servers": self.bootstrap_servers, "log_level": 0}

        def of_groups() -> None:
            with suppress(KafkaException):
                consumer = Consumer({**client, "group.id": "sluice-start"})
                consumer.committed([TopicPartition("none", 0)], timeout=INTERNAL_TOPICS_WITHIN_S)
                consumer.close()

        groups = threading.Thread(target=of_groups, daemon=True)
        groups.start()
        with suppress(KafkaException):
            Producer({**client, "transactional.id": "sluice-start"}).init_transactions(INTERNAL_TOPICS_WITHIN_S)
        groups.join()

    def is_ready(self) -> bool:
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            return bool(client.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False


def properties(settings: dict[str, object]) -> str:
    """The text of a Java properties file with `settings`.

    Paths in it must be relative to the broker's working directory: Java reads the file as Latin-1 with the backslash as
    escape character, and Kafka splits `log.dirs` at commas.
    """
    return "".join(f"{key}={value}\n" for key, value in settings.items())
