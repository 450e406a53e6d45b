"""Snapshot and stream together publish every change once, whatever happens meanwhile."""

from __future__ import annotations

import random
import threading
from collections import Counter, defaultdict

import psycopg

from sluice.cdc.debezium import UNAVAILABLE
from sluice.cdc.watermarks import FOLLOWED, PENDING
from sluice.position import Position
from sluice.raw.writing import sweep_key
from support.cdc import PARTITIONS, Source, dies_after

NAMES = "SELECT id, name, version FROM employee"


def same_rows(source: Source) -> None:
    """The raw topic represents the rows of the table."""
    raw = {row["id"]: (row["id"], row["name"], row["version"]) for row in source.rows("employee").values()}
    assert raw == {row[0]: row for row in source.sql(NAMES)}


def once_each(source: Source) -> None:
    """No two records of one key and kind share a position, and per key positions rise with the offsets."""
    positions_by_key: dict[bytes, list[Position]] = defaultdict(list)
    for record in source.raw("employee"):
        if record.value is not None and not record.is_sweep:
            positions_by_key[record.key].append(record.position)
    for key, positions in positions_by_key.items():
        assert positions == sorted(set(positions)), key


class Writers:
    """Insert, update, delete at random on connections of their own until `end`; every write raises `version`."""

    def __init__(self, source: Source, seed: int) -> None:
        self._dsn = source.dsn
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(random.Random(seed + n), n)) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def _write(self, dice: random.Random, number: int) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._end.wait(0.005):
                # Each writer has its own rows, so that none waits for another's lock.
                row = dice.randrange(400) * 2 + number
                if dice.random() < 0.1:
                    connection.execute("DELETE FROM employee WHERE id = %s", [row])
                else:
                    connection.execute(
                        "INSERT INTO employee VALUES (%s, 'n', 1) ON CONFLICT (id)"
                        " DO UPDATE SET version = employee.version + 1",
                        [row],
                    )

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)


def test_snapshot_and_stream_meet_without_gap_or_repeat_under_concurrent_writes(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(0, 799) g")
    writers = Writers(source, seed=random.randrange(1_000_000))
    try:
        with source.followed(batch_bytes_max=100_000) as running:
            running.await_streaming()
            streamed_from = source.wal_lsn()
            source.published_up_to(streamed_from)
            writers.end()
            source.published_up_to(source.wal_lsn())
    finally:
        writers.end()
    same_rows(source)
    once_each(source)
    versions: dict[bytes, int] = {}
    for record in source.raw("employee"):
        if record.value is None or record.is_sweep:
            continue
        after = record.body["after"]
        if after is None:
            versions.pop(record.key, None)
            continue
        # Every write raises the version by one: a gap or a repeat where snapshot and stream meet would show here. A row
        # that is read may repeat the state that the stream has just published.
        before = versions.get(record.key, after["version"] - 1)
        repeats = record.body["op"] == "r" and after["version"] == before
        assert repeats or after["version"] == before + 1, record.key
        versions[record.key] = after["version"]


def test_the_snapshot_ends_with_a_sweep_marker_in_every_partition_that_is_not_a_tombstone(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 20) g")
    with source.followed() as running:
        running.await_streaming()
    records = source.raw("employee")
    markers = [r for r in records if r.is_sweep]
    snapshot = {r.position for r in records if not r.is_sweep}
    assert {m.partition for m in markers} == set(range(PARTITIONS))
    assert len({m.position for m in markers}) == 1
    assert max(m.position for m in markers) <= min(snapshot), "no row that was read is swept"
    assert all(m.key == sweep_key("public.employee") and m.value == b"" for m in markers)
    watermark = source.watermark()
    assert watermark is not None
    assert (watermark.epoch, source.mark("employee").state) == (1, FOLLOWED)


def test_a_truncate_sweeps_what_was_there_and_keeps_what_came_after_in_the_same_transaction(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 20) g")
    with source.followed() as running:
        running.await_streaming()
        source.sql(
            "BEGIN; INSERT INTO employee VALUES (21, 'n'); TRUNCATE employee;"
            " INSERT INTO employee VALUES (3, 'z'); COMMIT"
        )
        source.published_up_to(source.wal_lsn())
    assert [row["name"] for row in source.rows("employee").values()] == ["z"]


def test_a_transaction_larger_than_a_batch_is_published_once_though_the_process_dies_within_it(
    source: Source,
) -> None:
    with source.followed() as running:
        running.await_streaming()
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 5000) g")
    end = source.wal_lsn()
    with source.followed(dies_after(3), batch_bytes_max=100_000) as running:
        assert running.killed.wait(30)
    watermark = source.watermark()
    assert watermark is not None
    assert watermark.ordinal > 0, "the process died between the parts of one transaction"
    assert source.confirmed_lsn() <= watermark.lsn
    with source.followed(batch_bytes_max=100_000) as running:
        running.await_streaming()
        source.published_up_to(end)
    ordinals = sorted(r.position.minor for r in source.raw("employee") if not r.is_sweep)
    assert ordinals == list(range(1, 5001))
    same_rows(source)


def test_what_was_published_and_not_confirmed_is_not_published_again(source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    end = source.wal_lsn()
    with source.followed(dies_after(1)) as running:
        assert running.killed.wait(30)
    watermark = source.watermark()
    assert watermark is not None
    assert source.confirmed_lsn() < watermark.lsn
    with source.followed() as running:
        running.await_streaming()
        source.published_up_to(end)
    assert [r.body["op"] for r in source.raw("employee") if not r.is_sweep] == ["c"]


def test_a_table_whose_snapshot_was_interrupted_is_read_on_from_the_last_durable_chunk(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, repeat('n', 200), 1 FROM generate_series(1, 3000) g")
    with source.followed(dies_after(3), batch_bytes_max=50_000) as running:
        assert running.killed.wait(30)
    interrupted = source.mark("employee")
    assert (interrupted.state, interrupted.reading is not None) == (PENDING, True)
    assert interrupted.reading is not None
    assert 0 < interrupted.reading.blocks_read < interrupted.reading.blocks
    before = sum(not r.is_sweep for r in source.raw("employee"))
    source.sql("DELETE FROM employee WHERE id <= 100; UPDATE employee SET version = 2 WHERE mod(id, 3) = 0")
    with source.followed(batch_bytes_max=50_000) as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    again = source.mark("employee")
    assert (again.state, again.since_lsn) == (FOLLOWED, interrupted.since_lsn)
    read = Counter(r.body["after"]["id"] for r in source.raw("employee") if r.value and r.body["op"] == "r")
    assert before >= interrupted.reading.rows
    assert all(number % 3 == 0 for number, times in read.items() if times > 1), "only a row that moved is read twice"
    same_rows(source)
    once_each(source)


def test_an_unchanged_large_column_is_marked_and_a_key_change_reads_it_again(source: Source) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'Ada', 1, %s)", ["x" * 20_000])
    with source.followed() as running:
        running.await_streaming()
        source.sql("UPDATE employee SET name = 'Bea' WHERE id = 1")
        source.published_up_to(source.wal_lsn())
        source.sql("UPDATE employee SET id = 2 WHERE id = 1")
        source.published_up_to(source.wal_lsn())
    update, deleted, created = [r for r in source.raw("employee") if r.value and not r.is_sweep and r.position.minor]
    assert (update.body["op"], update.body["after"]["notes"]) == ("u", UNAVAILABLE)
    by_op = {r.body["op"]: r for r in (deleted, created)}
    assert by_op["d"].key == b'{"id":1}'
    assert by_op["c"].body["after"] == {"id": 2, "name": "Bea", "version": 1, "notes": "x" * 20_000}
    assert list(source.rows("employee")) == [b'{"id":2}']
