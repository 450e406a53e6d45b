"""A followed source for tests: its database, its topics, its followers, and the rows that its raw topics represent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic
from psycopg import conninfo

from sluice.cdc.slots import parse_lsn
from sluice.cdc.watermarks import (
    FOLLOWED,
    PENDING,
    SlotWatermark,
    SourceWatermarks,
    TableWatermark,
    source_watermarks,
    watermark_key,
)
from sluice.debezium_settings import read_settings
from sluice.embedded import Servers
from sluice.embedded.kafka import Kafka
from sluice.embedded.postgres import Postgres
from sluice.errors import EnvironmentFault, Transient
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings, LogReader, clients, read_to_end
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.names import INGRESS_CDC
from sluice.pipeline import CdcSource, Pipeline, Secret
from sluice.position import Position
from sluice.raw.writing import RawRecord
from sluice.settings.stage import default_schemas_dir
from sluice.stage.signals import Stop
from sluice.telemetry.health import START, STARTING, Health
from sluice_ingress_cdc.follower import Follower
from sluice_ingress_cdc.settings import CdcSettings, SlotSettings, slots_of
from support.waiting import eventually

SOURCE = "erp"
PARTITIONS = 2


class Raw(NamedTuple):
    """One record of a raw topic, with its position parsed."""

    partition: int
    key: bytes
    value: bytes | None
    position: Position
    headers: dict[str, bytes]

    @property
    def is_sweep(self) -> bool:
        return self.headers.get("sluice-op") == b"s"

    @property
    def body(self) -> dict[str, Any]:
        assert self.value is not None
        body = orjson.loads(self.value)
        assert isinstance(body, dict)
        return body


@dataclass
class Source:
    """One database that is followed as source `erp`."""

    dsn: str
    kafka: KafkaSettings
    pipeline: Pipeline
    folder: Path

    @property
    def slot(self) -> SlotSettings:
        (slot,) = slots_of(self.pipeline)
        return slot

    def sql(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def settings(self, **more: Any) -> CdcSettings:
        quick = {
            "linger_s": 0.02,
            "feedback_interval_s": 0.05,
            "watermark_interval_s": 0.1,
            "watch_interval_s": 0.2,
            "recheck_interval_s": 0.2,
        }
        return CdcSettings(kafka=self.kafka, **{**quick, **more})

    @contextmanager
    def followed(self, producer: type[IngressProducer] | None = None, **more: Any) -> Iterator[Running]:
        """Run a follower on a thread until the context ends. A bug in the follower fails the test. `producer`: the
        class of producer that the follower uses instead of its own."""
        running = Running(self, self.settings(**more), producer)
        try:
            yield running
        finally:
            running.stop()
        if running.died is not None:
            raise running.died

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run `sluice run ingress-cdc` as a process. The process is killed when the context ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice.cli.main", "run", "ingress-cdc"],
            env=self.environment(),
            cwd=self.folder,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)

    def environment(self) -> dict[str, str]:
        quick = {"LINGER_S": "0.02", "FEEDBACK_INTERVAL_S": "0.05", "WATERMARK_INTERVAL_S": "0.1"}
        return {
            **os.environ,
            **{f"SLUICE_{k}": v for k, v in quick.items()},
            "ERP_DSN": self.dsn,
            "SLUICE_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "SLUICE_PIPELINE": str(self.folder / "pipeline.yaml"),
            "SLUICE_STATE_DIR": str(self.folder / "state"),
            "SLUICE_RECHECK_INTERVAL_S": "0.2",
            "SLUICE_WATCH_INTERVAL_S": "0.2",
        }

    def as_user(self, user: str, password: str) -> Source:
        """The same source, followed as another database user."""
        dsn = conninfo.make_conninfo(self.dsn, user=user, password=password)
        secret = self.folder / f"dsn-{user}"
        secret.write_text(dsn)
        source = self.pipeline.cdc_sources()[SOURCE].model_copy(update={"dsn": Secret(file=secret)})
        return replace(self, pipeline=self.pipeline.model_copy(update={"sources": {SOURCE: source}}))

    def with_tables(self, *tables: str) -> Source:
        """The same source, in a pipeline that names only `tables`."""
        names = [f"public.{table}" for table in tables]
        source = self.pipeline.cdc_sources()[SOURCE].model_copy(update={"tables": names})
        return replace(self, pipeline=self.pipeline.model_copy(update={"sources": {SOURCE: source}}))

    def delete_watermark(self) -> None:
        """Write a tombstone for the slot's watermark."""
        producer = clients.producer(self.kafka)
        producer.produce(self.pipeline.names.watermarks, None, watermark_key(SOURCE).encode())
        assert producer.flush(10) == 0

    def delete_topic(self, topic: str) -> None:
        admin = clients.admin(self.kafka)
        admin.delete_topics([topic])[topic].result(10)

    def recreate_topic(self, table: str) -> None:
        """Delete a raw topic and create it again."""
        topic = self.pipeline.names.raw(SOURCE, f"public.{table}")
        admin = clients.admin(self.kafka)
        admin.delete_topics([topic])[topic].result(10)

        def created() -> bool:
            try:
                admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(10)
            except KafkaException:
                return False  # the deletion is still under way
            return True

        eventually(created, f"{topic} is created")
        Topics(admin).await_leaders([topic])

    # ── durable state ───────────────────────────────────────────────────────────────────────────────────────

    def watermarks(self) -> SourceWatermarks:
        log = IngressProducer(self.kafka, self.pipeline.names, "reader")
        return source_watermarks(SOURCE, log.read_watermarks(prefix=watermark_key(SOURCE, "")))

    def watermark(self) -> SlotWatermark | None:
        return self.watermarks().slot

    def mark(self, table: str) -> TableWatermark:
        """The watermark of the table; a pending one if none is stored."""
        return self.watermarks().tables.get(f"public.{table}", TableWatermark())

    def confirmed_lsn(self) -> int:
        query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
        return parse_lsn(str(self.sql(query, [self.slot.slot])[0][0]))

    def wal_lsn(self) -> int:
        return parse_lsn(str(self.sql("SELECT pg_current_wal_insert_lsn()::text")[0][0]))

    def published_up_to(self, lsn: int, deadline_s: float = 60.0) -> None:
        """Wait until the watermark has reached `lsn` and every table is followed."""

        def reached() -> bool:
            slot, tables = self.watermarks()
            return slot is not None and slot.lsn >= lsn and all(t.state == FOLLOWED for t in tables.values())

        eventually(reached, f"the watermark reaches {lsn}", deadline_s)

    def raw(self, table: str) -> list[Raw]:
        """All committed records of the table's raw topic, by partition, then in log order."""
        return self._read(self.pipeline.names.raw(SOURCE, f"public.{table}"))

    def dead_letters(self) -> list[Raw]:
        return self._read(self.pipeline.names.dlq("ingress-cdc"))

    def raw_records(self, table: str, deadline_s: float = 600.0) -> Iterator[Raw]:
        """The records of the table's raw topic, one by one: those of a partition in log order, partitions mixed."""
        return self._records(self.pipeline.names.raw(SOURCE, f"public.{table}"), deadline_s)

    def _read(self, topic: str) -> list[Raw]:
        return sorted(self._records(topic), key=lambda record: record.partition)

    def _records(self, topic: str, deadline_s: float = 60.0) -> Iterator[Raw]:
        starts = dict.fromkeys(range(PARTITIONS), 0)
        for message in read_to_end(self.kafka, topic, starts, deadline_s=deadline_s):
            pairs: list[tuple[str, Any]] = [*(message.headers() or [])]
            headers = {name: bytes(value) for name, value in pairs}
            position = Position.parse(headers["sluice-position"])
            yield Raw(message.partition() or 0, message.key() or b"", message.value(), position, headers)

    def rows(self, table: str) -> dict[bytes, dict[str, Any]]:
        """The rows that the table's raw topic represents, by key: the state at the highest position, without swept and
        deleted keys."""
        newest: dict[bytes, Raw] = {}
        sweeps: dict[int, Position] = {}
        for record in self.raw(table):
            if record.is_sweep:
                sweeps[record.partition] = max(record.position, sweeps.get(record.partition, record.position))
            elif record.value is not None and (
                record.key not in newest or record.position > newest[record.key].position
            ):
                newest[record.key] = record
        return {
            key: record.body["after"]
            for key, record in newest.items()
            if record.body["op"] != "d" and record.position >= sweeps.get(record.partition, record.position)
        }


class Running:
    """A follower that runs on a thread. `died`: the error that ended it. `killed`: set after `Killed` was raised."""

    def __init__(self, source: Source, settings: CdcSettings, producer: type[IngressProducer] | None) -> None:
        self._source = source
        self._stop = Stop()
        self.health = Health()
        self.died: BaseException | None = None
        self.killed = threading.Event()
        self.follower = Follower(source.slot, source.pipeline.names, settings, self.health)
        if producer is not None:
            names = source.pipeline.names
            transactional_id = names.transactional_id(INGRESS_CDC, source.slot.source)
            self.follower.publisher.producer = producer(settings.kafka, names, transactional_id)
        self._where = source.slot.where
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.follower.run(self._stop)
        except Killed:
            self.killed.set()
        except BaseException as error:
            self.died = error

    @property
    def fault(self) -> str | None:
        return self.health.faults.get(self._where)

    def await_streaming(self) -> None:
        """Wait until the follower reads the slot and no table is left to be read."""

        def streams() -> bool:
            starting = [about for about, why in self.health.faults.items() if why == STARTING and about != START]
            return self.died is not None or (self.fault is None and not starting)

        eventually(streams, "streaming", state=lambda: str(self.health.faults))
        if self.died is not None:
            raise self.died
        eventually(self._tables_are_durable, "what was read is durable", state=lambda: str(self.health.faults))

    def _tables_are_durable(self) -> bool:
        tables = self._source.watermarks().tables.values()
        return self.died is not None or all(table.state != PENDING or table.why for table in tables)

    def await_fault(self, text: str) -> str:
        """Wait for a fault whose text contains `text`, of the source or of a table. Returns the text of the fault."""

        def matching() -> str | None:
            return next((why for why in self.health.faults.values() if text in why), None)

        return eventually(matching, f"a fault: {text}", state=lambda: f"{self.died or self.health.faults}")

    def await_no_fault(self) -> None:
        """Wait until no fault is active, except the fault of the process's start."""
        eventually(
            lambda: self.died is not None or not self.health.faults.keys() - {"start"},
            "no fault",
            state=lambda: str(self.health.faults),
        )
        if self.died is not None:
            raise self.died
        eventually(self._tables_are_durable, "what was read is durable", state=lambda: str(self.health.faults))

    def stop(self) -> None:
        self._stop.request()
        self._thread.join(30.0)
        assert not self._thread.is_alive()


class Killed(BaseException):
    """Ends a follower as kill -9 would end its process: no code of Sluice handles this exception."""


def dies_after(commits: int) -> type[IngressProducer]:
    """A class of producer that raises Killed directly after its commit number `commits` that contains records."""
    left = [commits]

    class Dies(IngressProducer):
        def publish(self, records: Sequence[RawRecord], watermarks: Any) -> None:
            super().publish(records, watermarks)
            if records:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed

    return Dies


def make_source(
    dsn: str,
    bootstrap: str,
    prefix: str,
    folder: Path,
    tables: Sequence[str],
    debezium: Mapping[str, object] | None = None,
) -> Source:
    """Create the pipeline file, the topics and the followed source. The test must create the tables. `debezium`:
    Debezium's settings of the source that this object stands for; the pipeline file has none."""
    names = [f"public.{table}" for table in tables]
    (folder / "pipeline.yaml").write_text(
        f"pipeline: books\npartitions: {PARTITIONS}\nkafka: {{prefix: '{prefix}'}}\n"
        f"sources: {{erp: {{cdc: postgres, dsn: {{env: ERP_DSN}}, tables: [{', '.join(names)}], heartbeat: 200ms}}}}\n"
    )
    secret = folder / "dsn"
    secret.write_text(dsn)
    settings = None if debezium is None else read_settings(debezium)
    source = CdcSource(cdc="postgres", dsn=Secret(file=secret), tables=names, heartbeat=0.2, debezium=settings)
    pipeline = Pipeline.model_validate(
        {
            "pipeline": "books",
            "partitions": PARTITIONS,
            "kafka": {"prefix": prefix},
            "sources": {SOURCE: source},
            "root": folder,
        }
    )
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    create_topics(pipeline, kafka)
    return Source(dsn, kafka, pipeline, folder)


def create_topics(pipeline: Pipeline, kafka: KafkaSettings) -> None:
    """Create the topics that ingress-cdc reads and writes, and wait until each partition has a leader."""
    topics = concrete(load_kinds(default_schemas_dir() / "topics"), pipeline, [])
    ours = [t for t in topics if ".raw." in f".{t.name}" or "sluice." in t.name or "dlq.ingress-cdc" in t.name]
    wanted = [t for t in ours if "state." not in t.name]
    Topics(clients.admin(kafka)).apply(wanted)
    eventually(
        lambda: _led(kafka, [(t.name, p) for t in wanted for p in range(t.partitions)]), "every partition has a leader"
    )


@contextmanager
def new_source(tables: Sequence[str]) -> Iterator[tuple[Source, Servers]]:
    """A followed source and servers of its own, which end with the block."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-source-"))
    folder.chmod(0o755)  # as root, Postgres runs as another user, which must reach the directory
    try:
        with Servers.start(folder / "servers", [Kafka, Postgres], durable=False) as servers:
            dsn, pipeline = servers.postgres.create_database("source"), folder / "pipeline"
            pipeline.mkdir()
            yield make_source(dsn, servers.kafka.bootstrap_servers, "", pipeline, tables), servers
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _led(kafka: KafkaSettings, partitions: list[Partition]) -> bool:
    with LogReader(kafka) as reader:
        try:
            return bool(reader.ends(partitions))
        except (EnvironmentFault, Transient):
            return False
