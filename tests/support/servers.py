"""Real servers for tests: one Kafka, one Postgres and one registry per test session, on free ports.

Fixtures: `servers` (all of them), `kafka` (its bootstrap servers), `registry_url`, `postgres_dsn` (a database of the
test's own, dropped after it), `topic_prefix` (so that two tests never share a topic, group or transactional id).
The servers run without fsync and die with the test process, whatever happens to it.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers

__all__ = ["kafka", "postgres_dsn", "registry_url", "servers", "servers_state_dir", "topic_prefix"]


@pytest.fixture(scope="session")
def servers_state_dir() -> Iterator[Path]:
    """A directory that every user can reach: as root, Postgres runs as somebody else."""
    path = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def servers(servers_state_dir: Path) -> Iterator[Servers]:
    with Servers.start(servers_state_dir, durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def kafka(servers: Servers) -> str:
    return servers.bootstrap_servers


@pytest.fixture(scope="session")
def registry_url(servers: Servers) -> str:
    return servers.registry_url


@pytest.fixture
def postgres_dsn(servers: Servers) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    servers.create_database(name)
    yield servers.postgres_dsn(name)
    servers.drop_database(name)


@pytest.fixture
def topic_prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}."
