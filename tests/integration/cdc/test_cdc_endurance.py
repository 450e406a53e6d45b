"""ingress-cdc endures a transaction larger than its batches, many tables, an absence of Kafka and an idle database,
with bounded memory. `make endurance` has the long forms of these loads."""

from __future__ import annotations

import random
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.embedded.kafka import Kafka
from sluice.embedded.postgres import Postgres
from support.cdc import make_source
from support.cdc_endurance import idle_next_to_busy, kafka_away, large_transaction, many_tables
from support.cdc_writers import create_tables
from support.servers import new_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TABLES = ["employee", "project"]


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """Servers of one test alone, which may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-cdc-"))
    folder.chmod(0o755)
    with Servers.start(folder, [Kafka, Postgres], durable=False) as running:
        yield running
    shutil.rmtree(folder)


def test_a_transaction_larger_than_memory_may_grow_is_published_once(
    postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["large"])
    # Were the transaction collected in memory, the process would grow by more than 64 MiB.
    found = large_transaction(source, "large", 64, batch_bytes_max=500_000, grown_mib_max=40)
    assert found.findings == []
    assert found.records == 64 * 2**20 // 2_000


def test_many_tables_are_read_and_followed(postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    names = [f"t{number:03d}" for number in range(60)]
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, names)
    found = many_tables(source, names, grown_mib_max=40)
    assert found.findings == []
    assert found.records == len(names) * 2 * 3  # two rows: read, and changed twice


def test_an_absence_of_kafka_while_tables_change_loses_nothing_and_needs_no_restart(
    own_servers: Servers, tmp_path: Path
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - a failure must be repeatable
    name = f"test_{uuid.uuid4().hex[:8]}"
    dsn = own_servers.postgres.create_database(name)
    source = make_source(dsn, own_servers.kafka.bootstrap_servers, f"{name}.", tmp_path, TABLES)
    create_tables(source.dsn, TABLES)
    found = kafka_away(source, TABLES, own_servers, seconds=5, seed=seed, grown_mib_max=60)
    assert found.findings == []
    assert found.records > 500


def test_an_idle_database_next_to_a_busy_one_does_not_retain_the_log(
    servers: Servers, postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["quiet"])
    with new_database(servers) as busy_dsn:
        found = idle_next_to_busy(source, "quiet", busy_dsn, busy_mib=128)
    assert found.findings == []
    assert found.records == 1
