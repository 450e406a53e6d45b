"""A real standby is promoted, or a server is restored: following goes on if nothing can be lost, else it is refused."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import conninfo

from sluice.embedded import Servers
from sluice.embedded.postgres import Postgres
from sluice.pipeline import Secret
from support.cdc import SOURCE, Source, make_source
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal
from support.servers import kill
from support.standby import Standby, standby_of
from support.waiting import eventually


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Servers]:
    """A server that a test may kill."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-primary-"))
    folder.chmod(0o755)
    with Servers.start(folder, [Postgres], durable=False) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def source(primary: Servers, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    dsn = primary.postgres.create_database(f"test_{uuid.uuid4().hex[:8]}")
    source = make_source(dsn, kafka, topic_prefix, tmp_path, ["a"])
    source.sql("CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a VALUES (1, 1)")
    return source


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sluice-standby-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def at(source: Source, server: Postgres) -> Source:
    """The same source, followed at another server."""
    dsn = conninfo.make_conninfo(source.dsn, port=server.port)
    secret = source.folder / f"dsn-{server.port}"
    secret.write_text(dsn)
    settings = source.pipeline.cdc_sources()[SOURCE].model_copy(update={"dsn": Secret(file=secret)})
    return replace(source, dsn=dsn, pipeline=source.pipeline.model_copy(update={"sources": {SOURCE: settings}}))


def replayed(source: Source, standby: Standby) -> None:
    """Wait until the standby has replayed everything that the primary has written."""
    end = source.sql("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    eventually(lambda: standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{end}'")[0][0], "the standby replays")


def epoch_of(source: Source) -> int:
    watermark = source.watermark()
    assert watermark is not None
    return watermark.epoch


def synchronised(standby: Standby, source: Source) -> None:
    """Wait until the standby has a copy of the slot that survives a promotion."""
    ready = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{source.slot.slot}' AND synced"
    ready += " AND NOT temporary"
    eventually(lambda: standby.execute(ready)[0][0], "the slot is synchronised")


def test_a_promoted_standby_with_a_failover_slot_is_followed_on_under_the_next_epoch(
    primary: Servers, source: Source, folder: Path
) -> None:
    with source.followed() as running:
        running.await_no_fault()
        with standby_of(primary.postgres, folder, sync_replication_slots="on") as standby:
            synchronised(standby, source)
            source.sql("INSERT INTO a VALUES (2, 2)")
            source.published_up_to(source.wal_lsn())
            with at(source, standby).followed(instance="other") as too_early:
                too_early.await_fault("it can be read after a promotion")
            replayed(source, standby)
            running.stop()
            kill(primary, "postgres")
            standby.promote()
            promoted = at(source, standby)
            before = len(promoted.raw("a"))
            with promoted.followed() as after:
                promoted.sql("INSERT INTO a VALUES (3, 3)")
                after.await_no_fault()
                await_equal(promoted, "a")
            assert epoch_of(promoted) == 2
            assert [r.position.epoch for r in promoted.raw("a")].count(2) == 1, "nothing was read or published again"
            assert len(promoted.raw("a")) == before + 1


def test_a_promoted_standby_that_lacks_published_changes_is_refused_until_a_resnapshot(
    primary: Servers, source: Source, folder: Path
) -> None:
    with source.followed() as running:
        running.await_no_fault()
        with standby_of(primary.postgres, folder, sync_replication_slots="on") as standby:
            synchronised(standby, source)
            standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
            standby.execute("SELECT pg_reload_conf()")
            receivers = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'walreceiver'"
            eventually(lambda: not source.sql(receivers)[0][0], "the standby is cut off")
            source.sql("INSERT INTO a VALUES (2, 2)")
            source.published_up_to(source.wal_lsn())
            running.stop()
            kill(primary, "postgres")
            standby.promote()
            promoted = at(source, standby)
            with promoted.followed() as after:
                fault = after.await_fault("which this server lacks")
                assert "timeline 1 ended at" in fault
                resnapshot(promoted)
                after.await_no_fault()
                await_equal(promoted, "a")
            assert [row["id"] for row in promoted.rows("a").values()] == [1]


def create_slot_on(standby: Standby, source: Source) -> None:
    """Create the slot of `source` on the standby. It starts at the next snapshot that the primary logs."""
    dbname = conninfo.conninfo_to_dict(source.dsn)["dbname"]
    with psycopg.connect(standby.dsn(str(dbname)), autocommit=True) as connection, ThreadPoolExecutor(1) as thread:
        created = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
        creating = thread.submit(connection.execute, created, [source.slot.slot])
        eventually(
            lambda: source.sql("SELECT pg_log_standby_snapshot()") and creating.done(), "the slot on the standby"
        )
        creating.result()


def test_a_source_is_followed_on_at_a_standby_and_its_promotion_raises_the_epoch_without_a_gap(
    primary: Servers, source: Source, folder: Path
) -> None:
    with standby_of(primary.postgres, folder) as standby:
        followed = at(source, standby)
        with followed.followed() as too_early:
            too_early.await_fault("tables cannot be read there")
        with source.followed() as running:
            running.await_no_fault()
            replayed(source, standby)
            create_slot_on(standby, source)
            source.sql("INSERT INTO a VALUES (5, 5)")
            source.published_up_to(source.wal_lsn())
            replayed(source, standby)
        with followed.followed() as running:
            running.await_no_fault()
            source.sql("INSERT INTO a VALUES (2, 2)")
            replayed(source, standby)
            await_equal(followed, "a")
            assert epoch_of(followed) == 1
            kill(primary, "postgres")
            standby.promote()
            followed.sql("INSERT INTO a VALUES (3, 3)")
            await_equal(followed, "a")
            eventually(lambda: epoch_of(followed) == 2, "the epoch of the new timeline")
            followed.sql("INSERT INTO a VALUES (4, 4)")
            await_equal(followed, "a")
            running.await_no_fault()
        watermark = followed.watermark()
        assert watermark is not None
        assert (watermark.epoch, watermark.timeline) == (2, 2)
        keys = [r.key for r in followed.raw("a") if r.value and not r.is_sweep]
        assert len(keys) == len(set(keys)) == 5


def shut_down(servers: Servers) -> None:
    process = psutil.Process(servers.pids["postgres"])
    process.send_signal(signal.SIGINT)
    process.wait(30)


def test_a_server_restored_from_a_copy_of_its_files_is_refused_though_its_log_has_grown_beyond_the_watermark(
    primary: Servers, source: Source
) -> None:
    with source.followed() as running:
        running.await_no_fault()
    shut_down(primary)
    data, copy = primary.postgres.home / "data", primary.postgres.home / "copy"
    subprocess.run(["cp", "-a", data, copy], check=True)
    primary.restart("postgres")
    with source.followed() as running:
        running.await_no_fault()
        source.sql("INSERT INTO a VALUES (2, 2)")
        await_equal(source, "a")
    before = source.watermark()
    assert before is not None
    shut_down(primary)
    shutil.rmtree(data)
    copy.rename(data)
    primary.restart("postgres")
    while source.wal_lsn() <= before.lsn:
        source.sql("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000))")
    source.sql("INSERT INTO a VALUES (3, 3)")
    with source.followed() as running:
        running.await_fault("the source was set back")
        resnapshot(source)
        running.await_no_fault()
        await_equal(source, "a")
    assert sorted(row["id"] for row in source.rows("a").values()) == [1, 3]
