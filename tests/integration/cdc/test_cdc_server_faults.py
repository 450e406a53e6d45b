"""A server is killed and restarted: the stage reports it, loses nothing, doubles nothing, and resumes by itself."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluice.cdc.watermarks import FOLLOWED
from sluice.embedded import Servers
from sluice.embedded.kafka import Kafka
from sluice.embedded.postgres import Postgres
from sluice.ingress.producer import IngressProducer
from sluice.raw.writing import RawRecord
from support.cdc import Source, make_source
from support.servers import kill


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    """Servers of this module alone, which may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-cdc-"))
    folder.chmod(0o755)
    with Servers.start(folder, [Kafka, Postgres], durable=True) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def source(own_servers: Servers, tmp_path: Path) -> Source:
    name = f"test_{uuid.uuid4().hex[:8]}"
    own_servers.postgres.create_database(name)
    dsn = own_servers.postgres.dsn(name)
    source = make_source(dsn, own_servers.kafka.bootstrap_servers, f"{name}.", tmp_path, ["employee"])
    source.sql("CREATE TABLE employee (id int PRIMARY KEY, name text NOT NULL)")
    return source


def insert(source: Source, first: int, last: int) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n' FROM generate_series(%s::int, %s::int) g", [first, last])


def created_once_each(source: Source, rows: int) -> None:
    ids = sorted(r.body["after"]["id"] for r in source.raw("employee") if not r.is_sweep)
    assert ids == list(range(1, rows + 1))


def test_postgres_killed_and_restarted_is_resumed_from_the_watermark(own_servers: Servers, source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
        insert(source, 1, 100)
        kill(own_servers, "postgres")
        fault = running.await_fault("source erp")
        assert "password" not in fault
        own_servers.restart("postgres")
        running.await_streaming()
        insert(source, 101, 200)
        source.published_up_to(source.wal_lsn())
    created_once_each(source, 200)


def test_a_source_that_is_down_at_the_start_is_waited_for(own_servers: Servers, source: Source) -> None:
    insert(source, 1, 10)
    kill(own_servers, "postgres")
    with source.followed() as running:
        running.await_fault("Connection refused")
        own_servers.restart("postgres")
        running.await_streaming()
    created_once_each(source, 10)


def test_kafka_killed_and_restarted_is_resumed_behind_a_new_fence(own_servers: Servers, source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
        insert(source, 1, 100)
        kill(own_servers, "kafka")
        insert(source, 101, 200)
        running.await_fault("")
        own_servers.restart("kafka")
        running.await_streaming()
        insert(source, 201, 300)
        source.published_up_to(source.wal_lsn())
    created_once_each(source, 300)


def test_postgres_can_be_shut_down_while_it_is_followed(own_servers: Servers, source: Source) -> None:
    """A fast shutdown waits until its walsenders' clients have confirmed everything."""
    with source.followed() as running:
        running.await_streaming()
        insert(source, 1, 100)
        server = psutil.Process(own_servers.pids["postgres"])
        server.send_signal(signal.SIGINT)
        server.wait(30)
        running.await_fault("source erp")
        own_servers.restart("postgres")
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    created_once_each(source, 100)


def test_a_snapshot_waits_for_a_restart_of_kafka_and_continues(own_servers: Servers, source: Source) -> None:
    insert(source, 1, 3000)
    published = [0]
    restarts: list[threading.Thread] = []

    class KafkaDiesDuringTheSecondBatch(IngressProducer):
        def publish(self, records: Sequence[RawRecord], watermarks: Any) -> None:
            published[0] += bool(records)
            if published[0] == 2 and not restarts:
                kill(own_servers, "kafka")
                restarts.append(threading.Thread(target=own_servers.restart, args=("kafka",)))
                restarts[0].start()
            super().publish(records, watermarks)

    with source.followed(KafkaDiesDuringTheSecondBatch, batch_bytes_max=100_000) as running:
        running.await_streaming()
        for restart in restarts:
            restart.join(60)
    watermark = source.watermark()
    assert watermark is not None
    assert (watermark.epoch, source.mark("employee").state) == (1, FOLLOWED)
    assert restarts
    created_once_each(source, 3000)
