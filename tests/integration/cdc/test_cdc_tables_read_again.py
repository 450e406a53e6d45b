"""Single tables are read again, added and removed, while the others are followed."""

from __future__ import annotations

import psycopg

from sluice.cdc.watermarks import BLOCKED, FOLLOWED, PENDING
from support.cdc import Source, dies_after
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal, equal
from support.waiting import eventually


def test_an_added_table_is_read_alone_and_the_watermark_of_a_removed_one_is_deleted(tables: Source) -> None:
    only_b = tables.with_tables("b")
    with only_b.followed() as running:
        running.await_no_fault()
    epoch_1 = len(tables.raw("b"))
    tables.sql("INSERT INTO b VALUES (2, 2)")
    with tables.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")
    assert len(tables.raw("b")) == epoch_1 + 1, "a followed table is not read again"
    with only_b.followed() as running:
        running.await_no_fault()
        tables.sql("UPDATE a SET n = 9")
        eventually(lambda: "public.a" not in tables.watermarks().tables, "the watermark of a is deleted")
    with tables.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")


def test_a_blocked_table_stays_blocked_over_a_restart_until_it_is_read_again(tables: Source) -> None:
    with tables.followed() as running:
        running.await_no_fault()
        tables.sql("ALTER TABLE a RENAME TO c; ALTER TABLE c RENAME TO a; ALTER TABLE a RENAME id TO ident")
        running.await_fault("table public.a is blocked")
        eventually(lambda: tables.mark("a").state == BLOCKED, "it is durable")
    tables.sql("ALTER TABLE a RENAME ident TO id; UPDATE a SET n = 5; INSERT INTO b VALUES (2, 2)")
    with tables.followed() as running:
        running.await_fault("table public.a is blocked")
        await_equal(tables, "b")
        assert not equal(tables, "a")
        assert resnapshot(tables, "--table", "public.a") == {"source": "erp", "tables": {"public.a": 1}}
        running.await_no_fault()
        await_equal(tables, "a", "b")
        assert tables.mark("a").request == 1


def test_a_raw_topic_created_again_under_a_running_process_blocks_its_table_alone(tables: Source) -> None:
    with tables.followed() as running:
        running.await_no_fault()
        tables.recreate_topic("a")
        assert "sluice cdc resnapshot erp --table public.a" in running.await_fault(
            "raw topic was deleted and created again"
        )
        tables.sql("INSERT INTO b VALUES (2, 2)")
        await_equal(tables, "b")
        resnapshot(tables, "--table", "public.a")
        running.await_no_fault()
        await_equal(tables, "a", "b")


def test_a_table_read_again_while_it_is_written_equals_the_source_in_the_end(tables: Source) -> None:
    tables.sql("INSERT INTO a SELECT g, 0 FROM generate_series(2, 500) g")
    with tables.followed(batch_bytes_max=50_000) as running:
        running.await_no_fault()
        with psycopg.connect(tables.dsn, autocommit=True) as writer:
            for number in range(1, 4):
                resnapshot(tables, "--table", "public.a")

                def done(number: int = number) -> bool:
                    key = writer.execute("SELECT (random() * 600)::int").fetchone()
                    writer.execute(
                        "INSERT INTO a VALUES (%s, 0) ON CONFLICT (id) DO UPDATE SET n = a.n + 1",
                        [key[0] if key else 0],
                    )
                    writer.execute("DELETE FROM a WHERE id = (random() * 600)::int")
                    return tables.mark("a").request == number and tables.mark("a").state == FOLLOWED

                eventually(done, "the table is read again")
        await_equal(tables, "a", "b")
    newest: dict[tuple[int, bytes], tuple[int, ...]] = {}
    for record in tables.raw("a"):
        at = (record.partition, record.key)
        assert record.position >= newest.get(at, record.position), "the last record of a key is its newest"
        newest[at] = record.position


def test_a_table_whose_snapshot_was_cut_off_is_read_again_and_the_other_goes_on(tables: Source) -> None:
    tables.sql("INSERT INTO a SELECT g, 0 FROM generate_series(2, 3000) g")
    with tables.followed() as running:
        running.await_no_fault()
    resnapshot(tables, "--table", "public.a")
    with tables.followed(dies_after(2), batch_bytes_max=50_000) as running:
        assert running.killed.wait(30)
    assert tables.mark("a").state in (PENDING, FOLLOWED)
    tables.sql("DELETE FROM a WHERE mod(id, 2) = 0; INSERT INTO b VALUES (2, 2)")
    with tables.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")
    assert tables.mark("a").request == 1
