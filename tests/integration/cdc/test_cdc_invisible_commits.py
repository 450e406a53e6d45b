"""A transaction is in the log before other sessions see it: the stage never reads a row as it was before the commit."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import psycopg
import pytest

from sluice.embedded import Servers
from support.cdc import Source, make_source

LARGE = "x" * 20_000


@pytest.fixture
def source(own_postgres: Servers, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    name = f"test_{uuid.uuid4().hex[:8]}"
    own_postgres.postgres.create_database(name)
    source = make_source(own_postgres.postgres.dsn(name), kafka, topic_prefix, tmp_path, ["employee"])
    source.sql("CREATE TABLE employee (id int PRIMARY KEY, name text, notes text)")
    source.sql("ALTER TABLE employee ALTER COLUMN notes SET STORAGE EXTERNAL")
    return source


def await_standby(source: Source, standby: str) -> None:
    """Make commits wait for a standby; "" makes them wait for none."""
    source.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
    source.sql("SELECT pg_reload_conf()")


def commit(source: Source, *statements: str) -> threading.Thread:
    """Run the statements as one transaction, on a thread, because its commit waits for the standby."""

    def run() -> None:
        with psycopg.connect(source.dsn) as connection:
            connection.execute("SET synchronous_commit = on")
            for statement in statements:
                connection.execute(statement.encode())

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_value_left_out_is_read_only_when_its_transaction_is_visible(source: Source) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'old', %s)", [LARGE])
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
        await_standby(source, "absent")
        try:
            # The key changes: the value of `notes`, which the log leaves out, must be read for the new key.
            update = commit(source, "UPDATE employee SET id = 2, name = 'new' WHERE id = 1")
            running.await_fault("the source does not show it to other sessions")
            assert b'{"id":2}' not in source.rows("employee")
        finally:
            await_standby(source, "")
        update.join(30)
        source.published_up_to(source.wal_lsn())
        running.await_no_fault()
    assert source.rows("employee") == {b'{"id":2}': {"id": 2, "name": "new", "notes": LARGE}}


def test_other_records_are_published_while_a_transaction_is_not_visible(source: Source) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'old', %s)", [LARGE])
    with source.followed() as running:
        running.await_streaming()
        source.sql("INSERT INTO employee VALUES (6, 'shows the shape of the table', '')")
        source.published_up_to(source.wal_lsn())
        await_standby(source, "absent")
        try:
            update = commit(
                source,
                "INSERT INTO employee VALUES (7, 'first', 'small')",
                "UPDATE employee SET id = 2 WHERE id = 1",
                "INSERT INTO employee VALUES (8, 'last', 'small')",
            )
            running.await_fault("the source does not show it to other sessions")
            assert source.rows("employee").keys() == {b'{"id":1}', b'{"id":6}', b'{"id":7}'}
        finally:
            await_standby(source, "")
        update.join(30)
        source.published_up_to(source.wal_lsn())
    assert source.rows("employee").keys() == {b'{"id":2}', b'{"id":6}', b'{"id":7}', b'{"id":8}'}
    ordinals = {r.key: r.position.minor for r in source.raw("employee") if r.position.minor and r.value}
    assert (ordinals[b'{"id":7}'], ordinals[b'{"id":2}'], ordinals[b'{"id":8}']) == (1, 2, 3)


def test_a_new_type_of_a_transaction_that_is_not_visible_is_known_when_its_rows_are_written(source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
        await_standby(source, "absent")
        try:
            change = commit(
                source,
                "CREATE DOMAIN grade AS int",
                "ALTER TABLE employee ADD COLUMN grade grade",
                "INSERT INTO employee VALUES (1, 'new', '', 3)",
            )
            running.await_fault("the source does not show it to other sessions")
        finally:
            await_standby(source, "")
        change.join(30)
        source.published_up_to(source.wal_lsn())
    assert source.rows("employee")[b'{"id":1}']["grade"] == 3
