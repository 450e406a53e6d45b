"""Followed tables, mapped and merged by real stages, whose raw topics a test may tamper with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from sluice.embedded import Servers
from sluice.kafka import KafkaSettings, LogReader, clients, murmur2_partition
from sluice.kafka.record import Record, record_of
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.pipeline import Pipeline, Secret, load_pipeline
from sluice.schemas import Registry, avro_schema
from sluice.settings.stage import RegistrySettings, StageSettings
from sluice.verify import NotChecked, Report, verify
from support.cdc import SOURCE, Running, Source
from support.people import Person
from support.stage_processes import stage_processes

PIPELINE = """\
pipeline: people
partitions: 2
kafka: {{prefix: {prefix}}}
sources:
  erp: {{cdc: postgres, dsn: {{file: {dsn_file}}}, heartbeat: 200ms, tables: [{tables}]}}
"""
STAFF = """\
CREATE TABLE staff (
    id int PRIMARY KEY, number text NOT NULL, notes text, pay numeric NOT NULL DEFAULT 1,
    since timestamptz NOT NULL DEFAULT '2026-01-01T00:00:00Z'
)"""
THING = "CREATE TABLE {} (id int PRIMARY KEY, kind text, body text, n int)"


class FollowedPeople:
    """`staff` is mapped; `others` are tables as THING, which no mapping reads."""

    partitions = 2

    def __init__(self, servers: Servers, dsn: str, prefix: str, folder: Path, others: Sequence[str]) -> None:
        (folder / "dsn").write_text(dsn)
        (folder / "entities.py").write_text("from support.people import Person as Person\n")
        (folder / "sources" / "erp").mkdir(parents=True)
        (folder / "sources" / "erp" / "mapping.py").write_text("from support.people import erp_staff as erp_staff\n")
        tables = ", ".join(f"public.{table}" for table in ("staff", *others))
        file = folder / "pipeline.yaml"
        file.write_text(PIPELINE.format(prefix=prefix, dsn_file=folder / "dsn", tables=tables))
        self.folder = folder
        self.kafka = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers)
        registry = RegistrySettings(url=servers.registry.url)
        self.settings = StageSettings(pipeline=file, state_dir=folder / "state", kafka=self.kafka, registry=registry)
        self.pipeline = load_pipeline(file)
        self.names = self.pipeline.names
        kinds = load_kinds(self.settings.schemas_dir / "topics")
        self.admin = clients.admin(self.kafka)
        Topics(self.admin).apply(concrete(kinds, self.pipeline, ["person"]))
        schemas = Registry(servers.registry.url, folder / "state" / "schemas")
        schemas.register(f"{self.names.canonical('person')}-value", avro_schema(Person.contract(), "people"))
        schemas.close()
        self._producer = clients.producer(self.kafka)
        self.source = Source(dsn, self.kafka, self.pipeline, folder)
        self.sql(STAFF)
        for table in others:
            self.sql(THING.format(table))
            # Large values are stored out of line, so that an update of another column leaves them out.
            self.sql(f"ALTER TABLE {table} ALTER COLUMN body SET STORAGE EXTERNAL")

    def sql(self, statement: str) -> None:
        self.source.sql(statement)

    @contextmanager
    def followed(self, **settings: Any) -> Iterator[Running]:
        with self.source.followed(**settings) as running:
            running.await_streaming()
            yield running

    @contextmanager
    def stages(self) -> Iterator[None]:
        """Mapper and merger, as processes."""
        with stage_processes(self.settings, ("mapper", "merger")):
            yield

    def verified(self, wait_s: float = 60.0, pipeline: Pipeline | None = None, *, sources: bool = True) -> Report:
        return verify(pipeline or self.pipeline, self.settings, wait_s=wait_s, sources=sources)

    def as_user(self, user: str, password: str) -> Pipeline:
        """The pipeline with another user of the source."""
        other = self.source.as_user(user, password).pipeline.cdc_sources()[SOURCE]
        return self.pipeline.model_copy(update={"sources": {SOURCE: other}})

    def with_dsn(self, dsn: str) -> Pipeline:
        """The pipeline with another dsn of the source."""
        file = self.folder / "elsewhere"
        file.write_text(dsn)
        other = self.pipeline.cdc_sources()[SOURCE].model_copy(update={"dsn": Secret(file=file)})
        return self.pipeline.model_copy(update={"sources": {SOURCE: other}})

    # ── changes of raw ───────────────────────────────────────────────────────────────────────

    def arrived(self) -> None:
        """Wait until all writes to the tables so far are in raw."""
        self.source.published_up_to(self.source.wal_lsn())

    def raw(self, table: str, key: str) -> list[Record]:
        """The records of a key, in log order."""
        topic = self.names.raw(SOURCE, f"public.{table}")
        at = (topic, murmur2_partition(key.encode(), self.partitions))
        with LogReader(self.kafka) as reader:
            found = [record_of(m) for m in reader.read({at: (0, reader.ends([at])[at])})]
        return [record for record in found if record.key == key.encode()]

    def publish(self, record: Record, value: bytes | None, **headers: bytes) -> None:
        """Write a record as a foreign process does: key and headers of `record`, with `headers` replaced."""
        replaced = {**record.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        self.produce(record.topic, record.key or b"", value, record.partition, list(replaced.items()))

    def produce(
        self, topic: str, key: bytes, value: bytes | None, partition: int, headers: list[tuple[str, bytes]]
    ) -> None:
        untyped_headers: Any = headers
        self._producer.produce(topic, value, key, partition, headers=untyped_headers)
        assert self._producer.flush(10) == 0

    def write_fault(self, key: str, why: str | None) -> None:
        """Write a fault as a stage does; None resolves it."""
        now = time.time_ns() // 1_000
        stage, instance, about = key.split("/", 2)
        fault = {"v": 1, "stage": stage, "instance": instance, "about": about, "why": why, "since": now, "at": now}
        value = None if why is None else orjson.dumps(fault)
        self.produce(f"{self.names.prefix}sluice.faults", key.encode(), value, 0, [])


def findings_of(report: Report, table: str, key: str) -> list[str]:
    """The report's findings about one key between a table and raw."""
    found = report.first.get("source-raw", [])
    assert report.counts["source-raw"] == len(found), "a finding is not listed"
    return [one.what for one in found if one.key == key and f"public.{table}" in one.where]


def unable(report: Report, what: str) -> NotChecked:
    """The one entry of the report about `what`, which verify was unable to look at."""
    (found,) = (one for one in report.not_checked if one.what == what)
    assert found.kind == "unable"
    return found
