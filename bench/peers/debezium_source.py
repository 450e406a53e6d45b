"""Debezium's PostgreSQL source in a Kafka Connect worker, with its default settings or with those found best.

Both forms write JSON without schemas, as Sluice does: JSON that repeats its schema has several times as many bytes, and
would make the peer slower. One worker serves all runs, so that the timed runs find compiled code; the first run of a
form does not count.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.connect import settings
from bench.connect.running import ConnectRunning, started_worker
from bench.connect.worker import ConnectWorker, fetched, versions
from bench.contestant import Contestant, Job
from bench.topics import Topics
from sluice.embedded.fetching import Progress


class DebeziumSource(Contestant):
    """One form of the peer. `tuned`: settings for throughput, and for latency while the harness measures latency."""

    commits = False
    first_run_is_slow = True

    def __init__(self, name: str, tuned: bool) -> None:
        self.name, self._tuned = name, tuned
        self._worker: ConnectWorker | None = None

    def build(self, progress: Progress) -> Mapping[str, str]:
        fetched(progress)
        return versions()

    def prepare(self, job: Job, topics: Topics) -> None:
        topics.create([job.output], job.partitions)

    def start(self, job: Job) -> ConnectRunning:
        if self._worker is None:
            # Not in the job's folder, which is deleted after the run.
            self._worker = started_worker(job.folder.parent / f"{self.name}-worker", job.bootstrap_servers)
        # A removed connector continues where it was when it is started under its name again.
        return ConnectRunning(self._worker, {job.name: self.connector(job)}, keeps_worker=True)

    def connector(self, job: Job) -> settings.Settings:
        """The settings of the connector of a job."""
        return {
            **settings.postgres_source(job),
            "topic.prefix": job.output.removesuffix(f".{job.source_table}"),
            **(settings.tuned_postgres_source(for_latency=job.for_latency) if self._tuned else {}),
            **settings.plain_json("key"),
            **settings.plain_json("value"),
        }
