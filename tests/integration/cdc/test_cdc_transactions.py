"""Large and prepared transactions: every change is published once, at the position of its place in the transaction."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import psutil
import psycopg
import pytest

from sluice.embedded import Servers
from support.cdc import Source, dies_after, make_source

ROWS = 4_000


def positions(source: Source) -> dict[int, tuple[int, int]]:
    """The position (commit LSN, ordinal) of each row that the stream published. Fails if a row was published twice."""
    found: dict[int, tuple[int, int]] = {}
    for record in source.raw("employee"):
        if not record.is_sweep:
            row = record.body["after"]["id"]
            assert row not in found
            found[row] = (record.position.major, record.position.minor)
    return found


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_transaction_of_many_parts_is_resumed_within_it_after_a_kill(source: Source, parts: int) -> None:
    with source.followed() as running:
        running.await_streaming()
    with source.followed(dies_after(parts), batch_bytes_max=100_000) as running:
        running.await_streaming()
        source.sql(f"INSERT INTO employee SELECT g, 'n' FROM generate_series(1, {ROWS}) g")
        assert running.killed.wait(60)
    watermark = source.watermark()
    assert watermark is not None
    assert 0 < watermark.ordinal < ROWS, "the mark is within the transaction"
    assert source.confirmed_lsn() <= watermark.lsn
    with source.followed(batch_bytes_max=100_000) as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    found = positions(source)
    assert {row: ordinal for row, (_, ordinal) in found.items()} == {n: n for n in range(1, ROWS + 1)}
    assert len({lsn for lsn, _ in found.values()}) == 1


def test_memory_stays_bounded_in_a_transaction_that_is_larger_than_memory_allows(source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
    megabytes = 250
    source.sql(
        f"INSERT INTO employee SELECT g, 'n', 1, repeat(md5(g::text), 3200) FROM generate_series(1, {megabytes * 10}) g"
    )
    end = source.wal_lsn()
    with source.process() as process:
        peak = 0
        follower = psutil.Process(process.pid)
        done = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, follower.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            source.published_up_to(end)
        finally:
            done.set()
            watcher.join()
    assert len(positions(source)) == megabytes * 10
    assert peak < megabytes * 1_000_000, f"{peak / 1024 / 1024:.0f} MiB"


@pytest.fixture
def prepared(own_postgres: Servers, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    """A source whose server allows prepared transactions."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    own_postgres.postgres.create_database(name)
    source = make_source(own_postgres.postgres.dsn(name), kafka, topic_prefix, tmp_path, ["employee"])
    source.sql("CREATE TABLE employee (id int PRIMARY KEY, name text)")
    return source


def prepare(source: Source, name: str, rows: range) -> None:
    with psycopg.connect(source.dsn, autocommit=True) as connection:
        connection.execute("BEGIN")
        for row in rows:
            connection.execute("INSERT INTO employee VALUES (%s, 'n')", [row])
        connection.execute(f"PREPARE TRANSACTION '{name}'".encode())


def test_a_prepared_transaction_is_published_at_its_commit(prepared: Source) -> None:
    source = prepared
    first, second, third = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("first", "second", "third"))
    with source.followed() as running:
        running.await_streaming()
        prepare(source, first, range(1, 4))
        prepare(source, second, range(4, 6))
        prepare(source, third, range(6, 8))
        source.sql("INSERT INTO employee VALUES (10, 'n')")
        source.published_up_to(source.wal_lsn())
        assert positions(source).keys() == {10}
    # Prepared while the source was followed, committed while it was not.
    source.sql(f"COMMIT PREPARED '{second}'")
    source.sql(f"ROLLBACK PREPARED '{third}'")
    source.sql(f"COMMIT PREPARED '{first}'")
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    found = positions(source)
    assert sorted(found, key=found.__getitem__) == [10, 4, 5, 1, 2, 3], "in the order of the commits"
    assert [found[row][1] for row in (1, 2, 3, 4, 5)] == [1, 2, 3, 1, 2]
