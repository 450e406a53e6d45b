"""Real servers for tests: one Kafka, one Postgres and one registry per test session, on free ports.

Fixtures: `servers` (all of them), `kafka` (its bootstrap servers), `registry_url`, `postgres_dsn` (a database of the
test's own, dropped after it), `shared_dsn` (a database of a module), `topic_prefix` (so that two tests never share a
topic, group or transactional id), and `own_broker` (a broker that one test starts, and may kill).
The servers run without fsync and die with the test process, whatever happens to it. With `SLUICE_TEST_STATE_DIR` naming
a state directory whose servers are up (`sluice dev up`), tests use those and start none.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from psycopg import sql

from sluice.embedded import Servers, processes
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from support.pace import within


def kill(servers: Servers, name: str) -> None:
    """Kill a server with SIGKILL, as in a crash. Returns when its process has ended."""
    processes.end(psutil.Process(servers.pids[name]), [signal.SIGKILL], 10.0)


def drop_database(servers: Servers, name: str) -> None:
    """Drop the database `name` if it exists. Its connections are terminated."""
    with psycopg.connect(servers.postgres.dsn(), autocommit=True) as connection:
        # DROP DATABASE with FORCE does not end a connection that reads a replication slot.
        connection.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
            " WHERE database = %s AND active_pid IS NOT NULL",
            [name],
        )
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def servers_state_dir() -> Iterator[Path]:
    """A directory that every user can reach: as root, Postgres runs as somebody else."""
    if given := os.environ.get("SLUICE_TEST_STATE_DIR"):
        yield Path(given)
        return
    path = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(servers_state_dir: Path) -> Iterator[Servers]:
    with Servers.start(servers_state_dir, durable=False) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Servers]:
    """A broker of the test's own, which the test may kill. It has no registry and no Postgres."""
    with Servers.start(tmp_path / "broker", [Kafka], durable=False) as running:
        yield running
    Layout(tmp_path / "broker").delete()


@pytest.fixture(autouse=True)
def whole_servers(request: pytest.FixtureRequest) -> None:
    """A server of the session that has died is named once, and runs again for the next test."""
    if "servers" not in request.fixturenames:
        return
    servers: Servers = request.getfixturevalue("servers")
    for name in servers.dead():
        warnings.warn(f"{name} was found dead before {request.node.nodeid}, and is started again", stacklevel=1)
        servers.restart(name)


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> str:
    return servers.kafka.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url(servers: Servers) -> str:
    return servers.registry.url


@pytest.fixture
def postgres_dsn(servers: Servers) -> Iterator[str]:
    with new_database(servers) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def shared_dsn(servers: Servers) -> Iterator[str]:
    """A database for all tests of a module."""
    with new_database(servers) as dsn:
        yield dsn


@contextmanager
def new_database(servers: Servers) -> Iterator[str]:
    """A database that exists while the block runs; its DSN."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield servers.postgres.create_database(name)
    drop_database(servers, name)


@pytest.fixture
def topic_prefix(kafka: str) -> Iterator[str]:
    """What the test's topics begin with; they are deleted after it, so that one broker serves a thousand tests."""
    prefix = f"t{uuid.uuid4().hex[:8]}."
    yield prefix
    admin = AdminClient({"bootstrap.servers": kafka})
    left = [name for name in admin.list_topics(timeout=within(30)).topics if name.startswith(prefix)]
    for deleted in admin.delete_topics(left).values() if left else ():
        deleted.result(within(30))
