"""The same changes through a real Debezium connector and through Sluice: two slots on one database, two topic prefixes.

`run` creates a database, runs the workloads of one profile in it, and returns what each reader published. Both readers
have published a workload when they have published its marker row, which is written last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka.admin import AdminClient
from psycopg import conninfo

from bench.connect.worker import ConnectWorker
from sluice.kafka import KafkaSettings, clients, read_to_end
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.pipeline import CdcSource, Pipeline, Secret
from sluice.settings.stage import default_schemas_dir
from support.cdc import SOURCE, Source
from support.event_comparison import Difference, Event, differences
from support.waiting import eventually

MARKER = "public.marker"
# Sluice follows the database twice: once as users would, and once with the known errors of Debezium.
VARIANTS: Mapping[str, Mapping[str, object]] = {"right": {}, "exact": {"debezium_exact": True}}
Step = str | tuple[str, str]
"""A statement of the session `main`, or (session, statement). Outside of BEGIN … COMMIT it is a transaction."""


class Workload(NamedTuple):
    """Changes to tables of the workload's own. `before`: statements before the readers start; `steps`: after it."""

    name: str
    tables: Sequence[str]
    before: Sequence[str]
    steps: Sequence[Step] = ()
    more_topics: Sequence[str] = ()

    @property
    def topics(self) -> Sequence[str]:
        """The topics of its tables, without the reader's prefix, and other topics that it fills."""
        return [*self.tables, *self.more_topics]


@dataclass(frozen=True)
class Profile:
    """How both readers are set. `settings`: settings of the connector, which Sluice gets under the same names.
    `debezium`: settings that only the connector gets."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    debezium: Mapping[str, object] = field(default_factory=dict)


class Published(NamedTuple):
    """The events of each reader, by topic without the reader's prefix. `exact`: of Sluice with `debezium_exact`."""

    debezium: Mapping[str, Sequence[Event]]
    sluice: Mapping[str, Sequence[Event]]
    exact: Mapping[str, Sequence[Event]]

    def differences(self, topics: Sequence[str], *, exact: bool) -> list[Difference]:
        """All differences in `topics`, of Sluice with or without `debezium_exact`."""
        ours = self.exact if exact else self.sluice
        return [d for topic in topics for d in differences(topic, self.debezium.get(topic, []), ours.get(topic, []))]


@dataclass(frozen=True)
class Readers:
    """Where a profile runs: a database of its own, a worker, a broker, and a folder for the pipeline file."""

    worker: ConnectWorker
    dsn: str
    bootstrap: str
    prefix: str
    folder: Path

    def run(self, profile: Profile, workloads: Sequence[Workload]) -> Published:
        """What both readers publish for these workloads."""
        tables = [table for workload in workloads for table in workload.tables]
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE TABLE {MARKER} (id int PRIMARY KEY)")
            for workload in workloads:
                for statement in workload.before:
                    connection.execute(statement.encode())
        followed = [*tables, MARKER]
        variants = {f"{self.prefix}{name}.": members for name, members in VARIANTS.items()}
        sources = [_sluice_source(self, profile, prefix, members, followed) for prefix, members in variants.items()]
        connector = f"c{self.prefix.strip('.')}"
        theirs, ours = f"{self.prefix}dbz.erp.", [f"{prefix}raw.erp." for prefix in variants]
        try:
            self.worker.run(connector, _connector(self, profile, connector, theirs.rstrip("."), followed))
            with ExitStack() as running:
                for follower in [running.enter_context(source.followed()) for source in sources]:
                    follower.await_streaming()
                self._await_slot(connector)
                for workload in workloads:
                    _run_steps(self.dsn, workload.steps)
                _run_steps(self.dsn, [f"INSERT INTO {MARKER} VALUES (1)"])
                self._await_marker([f"{prefix}{MARKER}" for prefix in (theirs, *ours)], connector)
        finally:
            self.worker.remove(connector)
        return Published(*(self._events(prefix) for prefix in (theirs, *ours)))

    def _await_slot(self, connector: str) -> None:
        """Wait until the connector reads its slot: it has taken its snapshot, and sees each later change in the log."""

        def reads() -> bool:
            self.worker.states(connector)  # raises if it has failed
            with psycopg.connect(self.dsn) as connection:
                query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
                return connection.execute(query, [connector]).fetchone() == (True,)

        eventually(reads, "the connector reads its slot", 120.0)

    def _await_marker(self, topics: Sequence[str], connector: str) -> None:
        def published() -> bool:
            self.worker.states(connector)
            return all(self._read(topic) for topic in topics)

        eventually(published, "both readers have published the marker", 120.0)

    def _events(self, prefix: str) -> dict[str, list[Event]]:
        topics = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=30).topics
        return {
            topic.removeprefix(prefix): [_without_prefix(event, prefix) for event in self._read(topic)]
            for topic in topics
            if topic.startswith(prefix)
        }

    def _read(self, topic: str) -> list[Event]:
        topics = AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=30).topics
        if topic not in topics:
            return []
        read = read_to_end(KafkaSettings(bootstrap_servers=self.bootstrap), topic, {0: 0})
        return [Event(m.key(), m.value(), tuple(_headers(m.headers()))) for m in read]


def _headers(found: Any) -> Iterator[tuple[str, bytes | None]]:
    yield from found or []


def _without_prefix(event: Event, prefix: str) -> Event:
    def without(text: bytes | None) -> bytes | None:
        return None if text is None else text.replace(prefix.rstrip(".").encode(), b"PREFIX")

    headers = tuple((name, without(text)) for name, text in event.headers)
    return Event(without(event.key), without(event.value), headers)


def _connector(
    readers: Readers, profile: Profile, name: str, topic_prefix: str, tables: Sequence[str]
) -> dict[str, object]:
    at = conninfo.conninfo_to_dict(readers.dsn)
    json_converter = "org.apache.kafka.connect.json.JsonConverter"
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": 1,
        "database.hostname": at["host"],
        "database.port": at["port"],
        "database.user": at["user"],
        "database.password": at["password"],
        "database.dbname": at["dbname"],
        "topic.prefix": topic_prefix,
        "table.include.list": ",".join(table.replace(".", r"\.").replace(",", r"\,") for table in tables),
        "plugin.name": "pgoutput",
        "slot.name": name,
        "publication.name": name,
        "publication.autocreate.mode": "filtered",
        "poll.interval.ms": 10,
        "key.converter": json_converter,
        "key.converter.schemas.enable": "false",
        "value.converter": json_converter,
        "value.converter.schemas.enable": "false",
        "topic.creation.default.partitions": 1,
        "topic.creation.default.replication.factor": 1,
        # Records of all topics are then durable in the order in which the connector sent them.
        "producer.override.max.in.flight.requests.per.connection": 1,
        "producer.override.linger.ms": 0,
        **profile.settings,
        **profile.debezium,
    }


def _sluice_source(
    readers: Readers, profile: Profile, prefix: str, members: Mapping[str, object], tables: Sequence[str]
) -> Source:
    folder = readers.folder / prefix
    folder.mkdir()
    secret = folder / "dsn"
    secret.write_text(readers.dsn)
    settings = {name: str(value) for name, value in profile.settings.items()}
    source = CdcSource.model_validate(
        {
            "cdc": "postgres",
            "dsn": Secret(file=secret),
            "tables": list(tables),
            "heartbeat": 3600.0,
            "debezium": settings,
            **members,
        }
    )
    pipeline = Pipeline.model_validate(
        {
            "pipeline": "books",
            "partitions": 1,
            "kafka": {"prefix": prefix},
            "sources": {SOURCE: source},
            "root": folder,
        }
    )
    kafka = KafkaSettings(bootstrap_servers=readers.bootstrap)
    topics = concrete(load_kinds(default_schemas_dir() / "topics"), pipeline, [])
    ours = [t for t in topics if ".raw." in f".{t.name}" or "sluice." in t.name or "dlq.ingress-cdc" in t.name]
    wanted = [t for t in ours if "state." not in t.name]
    created = Topics(clients.admin(kafka))
    created.apply(wanted)
    created.await_leaders([t.name for t in wanted])
    return Source(readers.dsn, kafka, pipeline, folder)


def _run_steps(dsn: str, steps: Sequence[Step]) -> None:
    with ExitStack() as open_connections:
        sessions: dict[str, psycopg.Connection[Any]] = {}
        for step in steps:
            session, statement = ("main", step) if isinstance(step, str) else step
            if session not in sessions:
                sessions[session] = open_connections.enter_context(psycopg.connect(dsn, autocommit=True))
            sessions[session].execute(statement.encode())
