"""The assembled sink over real servers: a pipeline folder, topics, canonical records in, rows and dead letters out."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from typer.testing import CliRunner

from sluice.cli.sink import app
from sluice.errors import Transient
from sluice.kafka import KafkaSettings, LogReader, clients, murmur2_partition, read_to_end
from sluice.kafka.faults import translate
from sluice.kafka.groups import members_of, set_offsets
from sluice.kafka.log import Partition
from sluice.names import SINK_POSTGRES
from sluice.pipeline import load_pipeline
from sluice.provenance import CanonicalRecord
from sluice.schemas import Registry, avro_schema, make_encoder
from sluice.settings.stage import RegistrySettings
from sluice.stage.commit import DirectDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.stage.signals import Stop
from sluice.telemetry import Health
from sluice_sink_postgres.settings import SinkSettings
from sluice_sink_postgres.wiring import sink_parts
from support.canonical import record
from support.pace import within
from support.topics import make_topics
from support.waiting import eventually
from support.workers import LedgerEntry, Worker


class SinkRig:
    """One pipeline with one entity and one sink; topics of its own, two partitions."""

    partitions = 2

    def __init__(self, kafka: str, registry_url: str, prefix: str, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        # A topic that is missing is reported as missing after a second; by default after half a minute.
        options = {"topic.metadata.propagation.max.ms": "1000"}
        self.kafka = KafkaSettings(bootstrap_servers=kafka, options=options)
        self.admin = clients.admin(self.kafka)
        self.topic, self.dlq, self.group = (
            f"{prefix}canonical.worker",
            f"{prefix}dlq.{SINK_POSTGRES}",
            f"{prefix}{SINK_POSTGRES}",
        )
        self.control = f"{prefix}sluice.control"
        (folder / "dsn").write_text(dsn)
        (folder / "entities.py").write_text("from support.workers import Worker as Worker\n")
        self.pipeline_file = folder / "pipeline.yaml"
        self.pipeline_file.write_text(
            f"pipeline: workforce\npartitions: {self.partitions}\nkafka: {{prefix: {prefix}}}\n"
            "sources: {hr: {cdc: postgres, dsn: {env: HR_DSN}, tables: [public.worker]}}\n"
            f"sinks: {{warehouse: {{postgres: {{file: {folder / 'dsn'}}}}}}}\n"
        )
        self.settings = SinkSettings(
            pipeline=self.pipeline_file,
            state_dir=folder / "state",
            kafka=self.kafka,
            registry=RegistrySettings(url=registry_url),
        )
        registry = Registry(registry_url, folder / "schemas-seen")
        contract = Worker.contract()
        self.encode = make_encoder(
            contract, registry.register(f"{self.topic}-value", avro_schema(contract, "workforce"))
        )
        self.health = Health()
        self._offsets_reader = clients.group_consumer(self.kafka, self.group, "offsets-reader")
        self._producer = clients.producer(self.kafka)

    def create(self, *names: str) -> None:
        """Create topics; all that the sink needs if none is named."""
        counts = {self.topic: self.partitions, self.dlq: 1, self.control: 1}
        for name in names or counts:
            make_topics(self.admin, {name: counts[name]}, {"cleanup.policy": "compact"} if name == self.topic else {})

    def recreate_topic(self) -> None:
        """Delete the canonical topic and create one of the same name."""
        self.admin.delete_topics([self.topic], request_timeout=within(30))[self.topic].result(within(30))
        eventually(lambda: not self._exists(), "the topic is deleted")
        self.create(self.topic)
        self._producer = clients.producer(self.kafka)  # the old one continues the old topic's sequence

    def _exists(self) -> bool:
        try:
            self.admin.describe_topics(TopicCollection([self.topic]))[self.topic].result(within(30))
        except Exception:
            return False
        return True

    def publish(self, entity_id: str, content: CanonicalRecord | bytes | None) -> None:
        """Write a canonical record (as it is, where it is bytes) to the partition of its id."""
        value = self.encode(content) if isinstance(content, CanonicalRecord) else content
        key = entity_id.encode()
        partition = murmur2_partition(key, self.partitions)
        self._producer.produce(self.topic, value, key, partition)
        assert self._producer.flush(within(30)) == 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The sink runs, and is stopped and joined at the end."""
        stop, codes = Stop(), []
        pipeline = load_pipeline(self.pipeline_file)
        parts = sink_parts(pipeline, self.settings, self.health)
        stage = Stage(
            name=SINK_POSTGRES,
            settings=self.settings,
            reader=GroupReader(self.kafka, parts.group, "0", parts.topic_ids),
            process=parts.sink,
            delivery=DirectDelivery(self.kafka, self.dlq, parts.sink),
            health=self.health,
        )
        thread = threading.Thread(target=lambda: codes.append(stage.run(stop)))
        thread.start()
        try:
            yield
        finally:
            stop.request()
            thread.join(within(60))
        assert codes == [0]

    def run_to_end(self) -> None:
        """Run the sink until it has committed everything there is."""
        with self.running():
            eventually(lambda: self.committed() == self.ends(), f"the sink commits the end; {self.health.faults}")

    def ends(self) -> dict[int, int]:
        with LogReader(self.kafka) as reader:
            return {at[1]: end for at, end in reader.ends(self._all()).items()}

    def _all(self) -> list[Partition]:
        return [(self.topic, partition) for partition in range(self.partitions)]

    def committed(self) -> dict[int, int]:
        """The group's committed offsets, asked by a consumer that never joins."""
        try:
            found = self._offsets_reader.committed([TopicPartition(*at) for at in self._all()], 30)
        except KafkaException as error:
            if isinstance(translate(error, "asking"), Transient):  # the broker's first group ever: no coordinator yet
                return {}
            raise
        return {part.partition: part.offset for part in found if part.offset >= 0}

    def reset(self, offsets: dict[int, int]) -> None:
        """What Kafka's own tool does with a stopped group."""
        eventually(lambda: members_of(self.admin, self.group) == 0, "the group is empty")
        set_offsets(self.admin, self.group, {(self.topic, partition): offset for partition, offset in offsets.items()})

    def dead_letters(self) -> list[tuple[bytes | None, bytes | None, dict[str, bytes]]]:
        """Key, value and headers of all dead letters."""
        letters: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = []
        for message in read_to_end(self.kafka, self.dlq, {0: 0}):
            headers: Any = message.headers() or ()
            letters.append((message.key(), message.value(), dict(headers)))
        return letters


class SecondEntity:
    """Another entity of the rig's pipeline, in a topic of its own. Create it before the first run of the sink."""

    def __init__(self, rig: SinkRig) -> None:
        self._rig = rig
        self._topic = rig.topic.replace("worker", "ledger_entry")
        (rig.pipeline_file.parent / "entities.py").write_text(
            "from support.workers import LedgerEntry as LedgerEntry, Worker as Worker\n"
        )
        make_topics(rig.admin, {self._topic: rig.partitions}, {"cleanup.policy": "compact"})
        contract, registry = LedgerEntry.contract(), Registry(rig.settings.registry.url, rig.settings.state_dir)
        self._encode = make_encoder(
            contract, registry.register(f"{self._topic}-value", avro_schema(contract, "workforce"))
        )
        self._producer = clients.producer(rig.kafka)

    def publish(self, entry_id: str) -> None:
        fields = {"entry_id": entry_id, "amount": {"amount": "1.0000", "currency": "EUR"}}
        value = self._encode(record()._replace(fields=fields, winners=[]))
        partition = murmur2_partition(entry_id.encode(), self._rig.partitions)
        self._producer.produce(self._topic, value, entry_id.encode(), partition)
        assert self._producer.flush(within(30)) == 0

    def has(self, ids: set[str]) -> bool:
        with psycopg.connect(self._rig.dsn) as connection:
            return {str(one) for (one,) in connection.execute("SELECT entity_id FROM golden.ledger_entry")} == ids


def rebuild(rig: SinkRig) -> dict[str, dict[str, int]]:
    """`sluice sink rebuild` of all tables; what it prints."""
    environment = {"SLUICE_KAFKA__BOOTSTRAP_SERVERS": rig.kafka.bootstrap_servers}
    result = CliRunner().invoke(app, ["rebuild", "--pipeline", str(rig.pipeline_file), "--json"], env=environment)
    assert result.exit_code == 0, result.output
    found: dict[str, dict[str, int]] = json.loads(result.stdout.splitlines()[-1])
    return found
