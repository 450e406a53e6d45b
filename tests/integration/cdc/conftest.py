"""A table `employee` in a database of the test's own, followed as source `erp`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sluice.embedded import Servers
from sluice.embedded.postgres import Postgres
from support.cdc import Source, make_source
from support.servers import kill


@pytest.fixture
def source(postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["employee"])
    source.sql(
        "CREATE TABLE employee (id int PRIMARY KEY, name text NOT NULL, version int NOT NULL DEFAULT 1, notes text)"
    )
    # Large values are stored out of line, so that updates of other columns do not send them.
    source.sql("ALTER TABLE employee ALTER COLUMN notes SET STORAGE EXTERNAL")
    return source


@pytest.fixture
def tables(postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    """Two tables, `a` and `b`, with a row each, followed as one source."""
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["a", "b"])
    for table in ("a", "b"):
        source.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, n int); INSERT INTO {table} VALUES (1, 1)")
    return source


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Servers]:
    """A Postgres server of one module, whose settings may be changed. It allows prepared transactions."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-cdc-"))
    folder.chmod(0o755)
    with Servers.start(folder, [Postgres], durable=False) as running:
        with psycopg.connect(running.postgres.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_prepared_transactions = 10")
        kill(running, "postgres")
        running.restart("postgres")
        yield running
    shutil.rmtree(folder)
