"""The servers of a benchmark: one Kafka broker, one Postgres and one registry, started for this run alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
from psycopg import sql

from bench.sampling import ServerPids
from bench.topics import Topics
from sluice.embedded import Servers
from sluice.embedded.fetching import Progress

DURABILITY = (
    "Postgres with fsync and synchronous_commit; Kafka as it is shipped (no fsync per record; one broker, no replica)"
)
"""The servers keep Sluice's own settings for embedded servers, in the durable form that `sluice up` uses."""

END_READERS = (
    "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
    " WHERE database = %s AND active_pid IS NOT NULL"
)
DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"


@dataclass
class BenchServers:
    """Servers that run, and the directory for everything of this benchmark run."""

    folder: Path
    servers: Servers

    @property
    def bootstrap_servers(self) -> str:
        return self.servers.kafka.bootstrap_servers

    @property
    def registry_url(self) -> str:
        return self.servers.registry.url

    @cached_property
    def topics(self) -> Topics:
        return Topics(self.bootstrap_servers)

    def database(self, name: str) -> str:
        """The DSN of a new database."""
        return self.servers.postgres.create_database(name)

    def drop_databases(self, dsns: Iterable[str]) -> None:
        """Drop databases and their slots. Connections of others are ended."""
        with psycopg.connect(self.servers.postgres.dsn(), autocommit=True) as connection:
            for dsn in dsns:
                database = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
                for statement in (END_READERS, DROP_SLOTS):
                    connection.execute(statement, [database])
                name = sql.Identifier(database)
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def pids(self) -> ServerPids:
        found = self.servers.pids
        return ServerPids((found["kafka"],), (found["postgres"],), (found["registry"],))


@contextmanager
def bench_servers(progress: Progress) -> Iterator[BenchServers]:
    """Start the servers in a new directory. They are stopped and deleted at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    folder.chmod(0o755)  # as root, Postgres runs as another user, which must reach the directory
    try:
        with Servers.start(folder / "servers", durable=True, progress=progress) as servers:
            yield BenchServers(folder, servers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
