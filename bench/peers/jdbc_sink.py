"""Debezium's JDBC sink on Kafka Connect, in two forms: it reads Avro, or JSON with schemas.

Differences from Sluice's sink that favour this peer: its input is flat and has the provenance as one text (see
`bench.connect.formats`); it writes no origin of a row; it keeps no tombstones, and an older record overwrites a newer
row; it commits its offsets once a minute, apart from the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

from bench.connect import formats, settings
from bench.connect.running import ConnectRunning, started_worker
from bench.connect.worker import fetched, versions
from bench.contestant import Contestant, Job, identifier
from bench.topics import Message, Topics
from sluice.embedded.fetching import Progress


class JdbcSink(Contestant):
    """One form of the peer. `form`: the format of its input."""

    commits = False

    def __init__(self, name: str, form: settings.Format) -> None:
        self.name, self._form = name, form

    def build(self, progress: Progress) -> Mapping[str, str]:
        fetched(progress)
        return versions()

    def prepare(self, job: Job, topics: Topics) -> None:
        topics.create(job.inputs, job.partitions)
        create_table(job, formats.COLUMNS)

    def encoded(self, job: Job, messages: Iterable[Message]) -> Iterable[Message]:
        if self._form == "json":
            encode = formats.json_encoder()
        else:
            encode = formats.avro_encoder(formats.register(job.registry_url, f"{job.inputs[0]}-value"))
        return formats.flattened(messages, job.registry_url, encode)

    def start(self, job: Job) -> ConnectRunning:
        connector = {
            **settings.jdbc_sink(job, job.inputs[0]),
            **settings.TUNED_JDBC_SINK,
            **settings.FULL_FETCHES,
            "consumer.override.isolation.level": "read_committed",
            "primary.key.mode": "record_value",
            "primary.key.fields": "entity_id",
            "key.converter": settings.STRING_CONVERTER,
            **settings.converter("value", self._form, job.registry_url),
        }
        return ConnectRunning(started_worker(job.folder / "worker", job.bootstrap_servers), {"sink": connector})


def create_table(job: Job, columns: Mapping[str, str]) -> None:
    """Create the target table of a job. `columns`: the type of each column, as SQL."""
    declared = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()]
    with psycopg.connect(job.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier(job.table), sql.SQL(", ").join(declared)))
