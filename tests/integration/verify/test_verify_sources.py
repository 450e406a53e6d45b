"""Followed tables are compared with raw: each difference is named, and so is each table that was not compared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from sluice.verify import Report
from support.followed_people import FollowedPeople, findings_of, unable

THINGS = "INSERT INTO {} SELECT n, 'k' || n, repeat('x', 3000), n FROM generate_series(1, 12) AS n"
OTHERS = ("thing", "busy", "chosen", "parted", "doubled")
PARTED = """
DROP TABLE parted;
CREATE TABLE parted (
    id int, "odd %% ""name" numeric(6, 2), day date, tags text[], PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted DEFAULT;
INSERT INTO parted SELECT n, n / 3.0, '2026-01-28'::date + n, ARRAY['a', NULL, '"'] FROM generate_series(1, 9) AS n;
"""
# Of `chosen` only some rows and columns are let through.
PUBLICATION = """
CREATE PUBLICATION {} FOR TABLE staff, thing, busy, parted, doubled, chosen (id, kind) WHERE (id <= 6)
WITH (publish_via_partition_root = true)
"""


@contextmanager
def writing(people: FollowedPeople) -> Iterator[None]:
    """Changes of every kind keep coming to table `busy`, many of them in transactions that stay open for a while."""
    ended = threading.Event()

    def run(first: int) -> None:
        with psycopg.connect(people.source.dsn, autocommit=True) as connection:
            number = 0
            while not ended.wait(0.002):
                number += 1
                # Two that move the same keys can wait for each other; Postgres then ends the transaction of one.
                with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                    connection.execute(
                        "INSERT INTO busy VALUES (%s, 'new', repeat('x', 3000), 0) "
                        "ON CONFLICT (id) DO UPDATE SET n = busy.n + 1",
                        [number % 50],
                    )
                    connection.execute("DELETE FROM busy WHERE id = %s", [number * 7 % 50])
                    connection.execute("UPDATE busy SET id = %s WHERE id = %s", [first + number, number * 3 % 50])
                    if number % 100 == 0:
                        connection.execute("TRUNCATE busy")

    threads = [threading.Thread(target=run, args=[first]) for first in (1_000, 1_000_000)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def clean(people: FollowedPeople) -> Report:
    """Rows of a snapshot and of changes, large values left out, moved keys, a swept table, a column added later,
    a partitioned table, and one of which only a part is published."""
    people.sql("INSERT INTO staff SELECT n, 'P' || n, 'notes of ' || n FROM generate_series(1, 50) AS n")
    for table in ("thing", "chosen", "doubled"):
        people.sql(THINGS.format(table))
    people.sql("INSERT INTO busy VALUES (1, 'swept', NULL, NULL)")
    people.sql(PARTED)
    people.sql(PUBLICATION.format(people.source.slot.publication))
    with people.followed():
        people.sql("UPDATE staff SET pay = pay + 0.50 WHERE id <= 10")
        people.sql("DELETE FROM staff WHERE id = 50")
        people.sql("UPDATE thing SET n = -n WHERE id <= 6")
        people.sql("UPDATE thing SET id = 99 WHERE id = 12")
        people.sql("ALTER TABLE thing ADD COLUMN later text")
        people.sql("UPDATE thing SET later = 'now' WHERE id = 5")
        people.sql("UPDATE thing SET n = 0 WHERE id = 10")
        people.sql("UPDATE parted SET day = day + 20 WHERE id < 4")
        people.sql("DELETE FROM parted WHERE id = 9")
        people.sql("UPDATE chosen SET n = 0, id = id + 100 WHERE id IN (1, 2, 3)")
        people.sql("TRUNCATE busy")
        people.sql("INSERT INTO busy VALUES (2, NULL, NULL, 7)")
        people.arrived()
        return people.verified()


@pytest.fixture(scope="module")
def report(people: FollowedPeople, clean: Report) -> Report:
    """One error in each of the keys 1 to 8 of `thing`, and in two keys of `doubled`."""
    assert clean.verified
    with people.followed():
        newest = {number: people.raw("thing", f'{{"id":{number}}}')[-1] for number in range(1, 9)}
        above = {"sluice_position": b"1:%d:1" % (people.source.wal_lsn() - 1)}
        people.publish(newest[1], None, **above)
        people.publish(newest[2], (newest[2].value or b"").replace(b'"op":"u"', b'"op":"d"'), **above)
        people.publish(newest[3], (newest[3].value or b"").replace(b'"kind":"k3"', b'"kind":"other"'), **above)
        del newest[4].headers["sluice-unchanged"]
        people.publish(newest[4], (newest[4].value or b"").replace(b'"n":-4', b'"n":4,"body":"short"'), **above)
        people.publish(newest[5]._replace(key=b'{"id":1005}'), newest[5].value, **above)
        people.publish(newest[6]._replace(headers={}), None)
        people.publish(newest[7], (newest[7].value or b"").replace(b'"n":7', b'"n":70'))
        future = (newest[8].value or b"").replace(b'"n":8', b'"n":80')
        people.publish(newest[8], future, sluice_position=b"1:%d:1" % 2**62)
        once = people.raw("doubled", '{"id":1}')[-1]
        people.publish(once, (once.value or b"").replace(b'"ts_ns"', b'"ts_ns" '))
        people.arrived()
        return people.verified()


def test_tables_that_equal_raw_are_verified(clean: Report) -> None:
    assert clean.to_json()["findings"] == {}
    assert clean.not_checked == []
    assert clean.verdict == "verified"
    assert clean.checked["source tables"] == 6
    assert clean.checked["source rows"] == 49 + 2 * 12 + 3 + 8 + 1
    assert clean.doubled == 0


FUTURE = f"has position 1:{2**62}:1, which its source has not reached"
ERRORS = [
    ("thing", 1, "has a row that is missing in raw"),
    ("thing", 2, "has a row that is missing in raw"),
    ("thing", 3, "has another kind in raw than in its table"),
    ("thing", 4, "has another body, n in raw than in its table"),
    ("thing", 1005, "is in raw, but its table has no such row"),
    ("thing", 6, "has a row that is missing in raw"),
    ("thing", 7, "has another n in raw than in its table"),
    ("thing", 8, FUTURE),
]


@pytest.mark.parametrize(("table", "number", "what"), ERRORS)
def test_a_difference_between_a_table_and_raw_is_named(report: Report, table: str, number: int, what: str) -> None:
    assert not report.verified
    (found,) = findings_of(report, table, f'{{"id":{number}}}')
    assert found == f"{what}; `sluice cdc resnapshot erp --table public.{table}` reads it again"


def test_equal_rows_are_not_named(report: Report) -> None:
    assert report.counts["source-raw"] == len(ERRORS)


def test_a_raw_record_that_repeats_another_is_reported(report: Report) -> None:
    assert report.doubled == 1
    assert report.first_doubled[0].key == '{"id":1}'
    assert "doubled: 1 raw records repeat another one" in "\n".join(report.lines())


def test_two_contents_with_one_position_are_a_finding(report: Report) -> None:
    assert [one.key for one in report.first["I2"]] == ['{"id":7}']
    assert "other content" in report.first["I2"][0].what


def test_a_table_that_is_written_to_meanwhile_does_not_differ(people: FollowedPeople, report: Report) -> None:
    with people.followed(), writing(people):
        for _ in range(3):
            during = people.verified()
            assert during.not_checked == [], "\n".join(during.lines())
            assert [one for one in during.first.get("source-raw", []) if "busy" in one.where] == []
            assert during.counts["source-raw"] == report.counts["source-raw"], "\n".join(during.lines())


def test_a_source_that_no_process_follows_is_reported_with_the_lag_of_raw(
    people: FollowedPeople, report: Report
) -> None:
    people.sql("INSERT INTO staff VALUES (900, 'P900')")
    behind = people.verified(wait_s=2.0)
    assert not behind.verified
    assert "no process reads slot" in unable(behind, "source erp").because
    for table in ("staff", *OTHERS):
        assert "bytes of WAL are not in raw yet" in unable(behind, f"source erp, table public.{table}").because
    assert behind.counts["source-raw"] == 0
    assert (behind.doubled, behind.counts["I2"]) == (report.doubled, report.counts["I2"])


def test_a_missing_slot_is_reported(people: FollowedPeople, report: Report) -> None:
    slot = people.source.slot.slot
    people.sql(f"SELECT pg_drop_replication_slot('{slot}')")
    missing = people.verified(wait_s=2.0)
    assert not missing.verified
    assert unable(missing, "source erp").because.startswith(f"slot {slot} does not exist any more; everything up to ")
    assert "source tables" not in missing.checked
