"""Debezium's PostgreSQL source and Debezium's JDBC sink in one Kafka Connect worker: a copy of the source table.

It has the default settings, or those that were found best for latency. It maps nothing, merges nothing and keeps no
provenance: the target has the columns of the source.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.connect import settings
from bench.connect.running import ConnectRunning, started_worker
from bench.connect.worker import ConnectWorker, fetched, versions
from bench.contestant import Contestant, Job
from bench.peers.jdbc_sink import create_table
from bench.topics import Topics
from sluice.embedded.fetching import Progress

COLUMNS = {
    "id": "text PRIMARY KEY",
    "cost_centre": "text",
    "employee": "text",
    "booked_on": "date",
    "changed_at": "timestamptz",
    "amount": "numeric(18, 2)",
    "currency": "text",
    "quantity": "integer",
    "rate": "numeric(9, 4)",
    "text": "text",
    # The harness reads the sum of this column. A virtual column costs nothing when a row is written.
    "amount_amount": "numeric(18, 2) GENERATED ALWAYS AS (amount) VIRTUAL",
}


class DebeziumJdbc(Contestant):
    """One form of the peer. `tuned`: settings for latency, and Avro instead of JSON with schemas."""

    commits = False
    key_column = "id"

    def __init__(self, name: str, tuned: bool) -> None:
        self.name, self._tuned = name, tuned
        # One worker for all runs: the first run of a Java process is slow, because its code is not compiled yet.
        self._worker: ConnectWorker | None = None

    def build(self, progress: Progress) -> Mapping[str, str]:
        fetched(progress)
        return versions()

    def prepare(self, job: Job, topics: Topics) -> None:
        topics.create([topic_of(job)], job.partitions)
        create_table(job, COLUMNS)

    def start(self, job: Job) -> ConnectRunning:
        form: settings.Format = "avro" if self._tuned else "json"
        converters = {
            **settings.converter("key", form, job.registry_url),
            **settings.converter("value", form, job.registry_url),
        }
        source = {
            **settings.postgres_source(job),
            **(settings.TUNED_POSTGRES_SOURCE if self._tuned else {}),
            **converters,
        }
        sink = {
            **settings.jdbc_sink(job, topic_of(job)),
            **(settings.TUNED_JDBC_SINK if self._tuned else {}),
            "primary.key.mode": "record_key",
            "delete.enabled": "true",
            **converters,
        }
        if self._worker is None:
            # Not in the job's folder, which is deleted after the run.
            self._worker = started_worker(job.folder.parent / f"{self.name}-worker", job.bootstrap_servers)
        connectors = {f"{job.name}-sink": sink, f"{job.name}-source": source}
        return ConnectRunning(self._worker, connectors, keeps_worker=True)


def topic_of(job: Job) -> str:
    return f"{job.prefix}{job.source_table}"
