"""A publication that is dropped, or was changed for a moment, is noticed by its catalog row, not by its name."""

from __future__ import annotations

import pytest

from support.cdc import Running, Source
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal
from support.waiting import eventually


def test_a_dropped_publication_is_a_fault_within_seconds_and_a_resnapshot_creates_it_again(tables: Source) -> None:
    with tables.followed() as running:
        running.await_no_fault()
        tables.sql(f"DROP PUBLICATION {tables.slot.publication}")
        assert "sluice cdc resnapshot erp" in running.await_fault("does not exist any more")
        tables.sql("UPDATE a SET n = 7")
        resnapshot(tables)
        running.await_no_fault()
        await_equal(tables, "a", "b")


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER PUBLICATION {p} SET (publish = 'insert'); UPDATE a SET n = 8; "
        "ALTER PUBLICATION {p} SET (publish = 'insert, update, delete, truncate')",
        "DROP PUBLICATION {p}; UPDATE a SET n = 8; CREATE PUBLICATION {p} FOR TABLE a, b",
        "DROP PUBLICATION {p}; UPDATE a SET n = 8; CREATE PUBLICATION {p} FOR ALL TABLES",
    ],
    ids=["updates left out for a moment", "created again", "created again for all tables"],
)
def test_a_publication_that_was_changed_for_a_moment_leaves_a_fault_of_every_table(
    tables: Source, statements: str
) -> None:
    with tables.followed() as running:
        running.await_no_fault()
        for statement in statements.split("; "):
            tables.sql(statement.format(p=tables.slot.publication))
        for table in ("a", "b"):
            assert f"sluice cdc resnapshot erp --table public.{table}" in running.await_fault(
                f"public.{table} is followed"
            )
        resnapshot(tables, "--table", "public.a", "--table", "public.b")
        running.await_no_fault()
        await_equal(tables, "a", "b")


REWRITTEN = {
    "updated": "ALTER TABLE a SET UNLOGGED; UPDATE a SET n = 7; ALTER TABLE a SET LOGGED",
    "emptied": "ALTER TABLE a SET UNLOGGED; DELETE FROM a; ALTER TABLE a SET LOGGED",
    "truncated": "ALTER TABLE a SET UNLOGGED; TRUNCATE a; INSERT INTO a VALUES (5, 5); ALTER TABLE a SET LOGGED",
    "truncated first": "TRUNCATE a; ALTER TABLE a SET UNLOGGED; INSERT INTO a VALUES (5, 5); ALTER TABLE a SET LOGGED",
    "filled, and analyzed": "ALTER TABLE a SET UNLOGGED; INSERT INTO a VALUES (5, 5);"
    " ALTER TABLE a SET LOGGED; ANALYZE a",
}


@pytest.mark.parametrize("statements", REWRITTEN.values(), ids=REWRITTEN.keys())
def test_writes_while_a_table_of_a_published_schema_was_unlogged_are_a_fault(tables: Source, statements: str) -> None:
    tables.sql(f"CREATE PUBLICATION {tables.slot.publication} FOR TABLES IN SCHEMA public")
    tables.sql("ALTER TABLE a ADD notes text")
    with tables.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")
        tables.sql(f"BEGIN; {statements}; COMMIT")
        fault = running.await_fault("public.a is followed")
        assert "its rows were rewritten" in fault
        assert "sluice cdc resnapshot erp --table public.a" in fault
        tables.sql("INSERT INTO a VALUES (9, 9)")
        resnapshot(tables, "--table", "public.a")
        running.await_no_fault()
        await_equal(tables, "a", "b")


WITHOUT_FAULT = [
    "VACUUM FULL a",
    "CLUSTER a USING a_pkey",
    "TRUNCATE a",
    "VACUUM FULL a",  # of a table without rows
    "INSERT INTO a SELECT g, g FROM generate_series(1, 5) g",
    "BEGIN; TRUNCATE a; INSERT INTO a SELECT g, g FROM generate_series(1, 3) g; COMMIT",
    "BEGIN; SAVEPOINT s; TRUNCATE a; RELEASE s; INSERT INTO a VALUES (1, 1); COMMIT",
    "BEGIN; TRUNCATE a; INSERT INTO a VALUES (1, 1), (2, 2); COMMIT; ALTER TABLE a SET (fillfactor = 70); ANALYZE a",
    "ALTER TABLE a ADD g int GENERATED ALWAYS AS (n * 2) STORED",
]


def test_a_new_file_with_the_same_rows_or_with_what_the_log_contains_is_no_fault(tables: Source) -> None:
    tables.sql(f"CREATE PUBLICATION {tables.slot.publication} FOR ALL TABLES")
    tables.sql("ALTER TABLE a ADD notes text")
    with tables.followed() as running:
        running.await_no_fault()
        for statement in WITHOUT_FAULT:
            tables.sql(statement)
            settled(tables, running, "a", statement)
            await_equal(tables, "a", "b")


@pytest.mark.parametrize("partitioned", [False, True], ids=["a table", "a partitioned table"])
def test_a_truncation_that_was_published_before_the_reader_ended_is_no_fault_to_the_next_one(
    tables: Source, partitioned: bool
) -> None:
    """The first process ended before it checked the table's new file."""
    if partitioned:
        tables.sql("DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)")
        tables.sql("CREATE TABLE a_1 PARTITION OF a DEFAULT")
    with tables.followed(watch_interval_s=3_600) as running:
        running.await_no_fault()
        for filled in ("INSERT INTO a VALUES (2, 2)", "INSERT INTO a VALUES (3, 3)"):
            tables.sql(f"TRUNCATE a; {filled}")
            await_equal(tables, "a", "b")
    with tables.followed() as running:
        running.await_no_fault()
        settled(tables, running, "a_1" if partitioned else "a", "TRUNCATE a")


def settled(source: Source, running: Running, leaf: str, after: str) -> None:
    """Wait until the binding of table `a` contains the current file of `leaf`, without a fault."""
    file = source.sql("SELECT relfilenode FROM pg_class WHERE oid = %s::regclass", [leaf])[0][0]

    def bound() -> bool:
        mark = source.mark("a")
        assert not mark.why, f"{after}: {mark.why}"
        files = [mark.bound.filenode, *(one.filenode for one in mark.bound.leaves.values())] if mark.bound else []
        return file in files

    eventually(bound, f"bound to the file after: {after}", state=lambda: str(running.health.faults))
