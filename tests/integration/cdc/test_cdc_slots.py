"""A slot that lost changes is refused before a row is skipped: whatever the server or another program did to it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sluice.cdc.replication import ReplicationStream
from sluice.cdc.slots import format_lsn
from sluice.embedded import Servers
from sluice.embedded.postgres import Postgres
from support.cdc import Source, make_source
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal
from support.waiting import eventually


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Servers]:
    """A server of this module alone, whose settings a test may change."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-slots-"))
    folder.chmod(0o755)
    with Servers.start(folder, [Postgres], durable=False) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def own(own_postgres: Servers, kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Source]:
    """Two tables, `a` and `b`, on the server of this module. Its settings are reset after the test."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    dsn = own_postgres.postgres.create_database(name)
    source = make_source(dsn, kafka, topic_prefix, tmp_path, ["a", "b"])
    for table in ("a", "b"):
        source.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, n int); INSERT INTO {table} VALUES (1, 1)")
    yield source
    source.sql("ALTER SYSTEM RESET ALL")
    source.sql("SELECT pg_reload_conf()")
    source.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", [name])


def set_server(source: Source, name: str, value: str) -> None:
    source.sql(f"ALTER SYSTEM SET {name} = '{value}'")
    source.sql("SELECT pg_reload_conf()")


def released(source: Source) -> None:
    """Wait until the server has noticed that the stage has closed its connection."""
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    eventually(lambda: not source.sql(active, [source.slot.slot])[0][0], "the slot to be released")


def followed_once(source: Source) -> None:
    """Rows 1 and 2 of `a` are published, and the stage is stopped."""
    with source.followed() as running:
        running.await_no_fault()
        source.sql("INSERT INTO a VALUES (2, 2)")
        await_equal(source, "a")
    released(source)


def invalidate_by_size(source: Source) -> None:
    set_server(source, "max_slot_wal_keep_size", "1MB")
    for _ in range(3):
        source.sql("SELECT pg_logical_emit_message(false, 'test', 'x')")
        source.sql("SELECT pg_switch_wal()")
    source.sql("CHECKPOINT")


def invalidate_by_age(source: Source) -> None:
    set_server(source, "idle_replication_slot_timeout", "1s")
    status = "SELECT invalidation_reason FROM pg_replication_slots WHERE slot_name = %s"

    def is_invalidated() -> bool:
        source.sql("CHECKPOINT")  # only a checkpoint invalidates
        return source.sql(status, [source.slot.slot])[0][0] is not None

    eventually(is_invalidated, "the server invalidates the slot")


@pytest.mark.parametrize(
    ("invalidate", "reason", "setting"),
    [
        (invalidate_by_size, "wal_removed", "max_slot_wal_keep_size"),
        (invalidate_by_age, "idle_timeout", "idle_replication_slot_timeout"),
    ],
)
def test_a_slot_that_the_server_invalidated_is_refused_with_its_reason_until_a_resnapshot(
    own: Source, invalidate: Any, reason: str, setting: str
) -> None:
    followed_once(own)
    invalidate(own)
    own.sql("INSERT INTO a VALUES (3, 3)")
    own.sql("DELETE FROM a WHERE id = 1")
    with own.followed() as running:
        fault = running.await_fault(f"({reason})")
        assert setting in fault
        assert "sluice cdc resnapshot erp" in fault
        own.sql("ALTER SYSTEM RESET ALL")
        own.sql("SELECT pg_reload_conf()")
        resnapshot(own)
        running.await_no_fault()
        await_equal(own, "a")
    assert sorted(row["id"] for row in own.rows("a").values()) == [2, 3]


def test_a_slot_that_another_program_advanced_is_refused(tables: Source) -> None:
    followed_once(tables)
    tables.sql("INSERT INTO a VALUES (3, 3)")
    read = (
        "SELECT count(*) FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1',"
        " 'publication_names', %s)"
    )
    # The other program reads what is flushed, and this server flushes a moment after the commit.
    eventually(lambda: tables.sql(read, [tables.slot.slot, tables.slot.publication])[0][0], "it reads a change")
    with tables.followed() as running:
        running.await_fault("would be lost")
        resnapshot(tables)
        running.await_no_fault()
        await_equal(tables, "a")


def test_a_slot_that_is_recreated_while_a_session_starts_is_refused_before_a_change_is_skipped(
    tables: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start has checked the slot, and the stream is not open yet."""
    with tables.followed() as running:
        running.await_no_fault()
    released(tables)
    recreated: list[bool] = []
    start = ReplicationStream.start

    def recreate_then_start(*arguments: Any, **more: Any) -> ReplicationStream:
        if not recreated:
            tables.sql("SELECT pg_drop_replication_slot(%s)", [tables.slot.slot])
            tables.sql("INSERT INTO a VALUES (2, 2)")
            tables.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [tables.slot.slot])
            recreated.append(True)
        return start(*arguments, **more)

    monkeypatch.setattr(ReplicationStream, "start", recreate_then_start)
    with tables.followed() as running:
        running.await_fault("was created again or moved")
        assert recreated
        resnapshot(tables)
        running.await_no_fault()
        await_equal(tables, "a")


def test_a_slot_that_keeps_too_much_log_is_dropped_if_the_operator_chose_that_and_a_resnapshot_repairs_it(
    own: Source,
) -> None:
    """The source is refused: no session follows it, and the guard watches it."""
    followed_once(own)
    own.sql(f"ALTER PUBLICATION {own.slot.publication} RENAME TO another")
    limits: dict[str, Any] = {"wal_warn_bytes": 1, "wal_limit_bytes": 20_000_000, "wal_limit_action": "release"}
    with own.followed(**limits) as running:
        running.await_fault("than SLUICE_WAL_WARN_BYTES")
        for _ in range(2):
            own.sql("SELECT pg_logical_emit_message(false, 'test', 'x')")
            own.sql("SELECT pg_switch_wal()")
        slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s"
        eventually(lambda: own.sql(slots, [own.slot.slot])[0][0] == 0, "the slot is dropped")
    own.sql(f"ALTER PUBLICATION another RENAME TO {own.slot.publication}")
    with own.followed() as running:
        running.await_fault(f"slot {own.slot.slot} does not exist any more")
        resnapshot(own)
        running.await_no_fault()
        await_equal(own, "a")


def test_a_source_whose_changes_are_not_confirmed_has_a_fault_until_they_are(own: Source) -> None:
    followed_once(own)
    confirmed = own.confirmed_lsn()
    own.sql(f"ALTER PUBLICATION {own.slot.publication} RENAME TO another")
    with own.followed(stuck_after_s=1.0) as running:
        own.sql("INSERT INTO a VALUES (3, 3)")
        fault = running.await_fault("nothing was confirmed for 1 s")
        assert format_lsn(confirmed) in fault
        assert "no process reads the slot" in fault
        own.sql(f"ALTER PUBLICATION another RENAME TO {own.slot.publication}")
        about = f"source erp, progress of slot {own.slot.slot}"
        eventually(lambda: about not in running.health.faults, "the slot has progress")


def test_an_idle_source_does_not_keep_the_log_of_a_busy_database_of_its_server(
    own: Source, own_postgres: Servers
) -> None:
    busy = own_postgres.postgres.create_database(f"busy_{uuid.uuid4().hex[:8]}")
    with own.followed() as running:
        running.await_no_fault()
        with psycopg.connect(busy, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (v text)")
            for _ in range(4):
                connection.execute("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
        end = own.wal_lsn()
        eventually(lambda: own.confirmed_lsn() >= end, "the slot of the idle database follows the log")
        assert not own.sql("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [busy.rsplit("/", 1)[1]])
        own.sql("CHECKPOINT")  # writes a snapshot to the log, so that restart_lsn follows
        restart = "SELECT restart_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
        eventually(lambda: own.sql(restart, [format_lsn(end), own.slot.slot])[0][0], "the server may remove its log")
