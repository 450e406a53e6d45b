"""ingress-cdc refuses to go on where changes could have been lost, and resumes by itself after the repair."""

from __future__ import annotations

import uuid

import pytest

from sluice.cdc.slots import format_lsn
from sluice.cdc.watermarks import FOLLOWED
from support.cdc import Source
from support.cdc_commands import resnapshot
from support.waiting import eventually


def followed_once(source: Source) -> None:
    """Rows 1 to 10 are published, and the stage is away again."""
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 10) g")
    with source.followed() as running:
        running.streaming()
        source.sql("INSERT INTO employee VALUES (11, 'n')")
        source.published_up_to(source.wal_lsn())


def lose_changes(source: Source, *, make_slot_again: bool) -> None:
    source.sql("SELECT pg_drop_replication_slot(%s)", [source.slot.slot])
    source.sql("DELETE FROM employee WHERE id <= 3")
    source.sql("UPDATE employee SET name = 'lost' WHERE id = 4")
    source.sql("INSERT INTO employee VALUES (12, 'n')")
    if make_slot_again:
        source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [source.slot.slot])


@pytest.mark.parametrize("make_slot_again", [True, False], ids=["made again", "missing"])
def test_a_slot_dropped_while_away_is_refused_until_a_resnapshot_sweeps_what_was_lost(
    source: Source, make_slot_again: bool
) -> None:
    followed_once(source)
    lose_changes(source, make_slot_again=make_slot_again)
    before = source.watermark()
    assert before is not None
    records_before = len(source.raw("employee"))
    with source.followed() as running:
        says = running.faulty("sluice cdc resnapshot erp")
        assert format_lsn(before.lsn) in says
        if make_slot_again:
            assert format_lsn(source.confirmed_lsn()) in says
        assert source.slot.slot in says
        assert len(source.raw("employee")) == records_before
        assert resnapshot(source) == {"source": "erp", "resnapshot_epoch": 2}
        running.streaming()
        source.published_up_to(source.wal_lsn())
    names = {row["id"]: row["name"] for row in source.rows("employee").values()}
    assert names == dict(source.sql("SELECT id, name FROM employee"))
    assert names[4] == "lost"
    swept = {r.position.epoch for r in source.raw("employee") if r.is_sweep}
    assert swept == {1, 2}


def test_a_running_stage_takes_a_resnapshot_up_without_a_restart(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 10) g")
    with source.followed() as running:
        running.streaming()
        resnapshot(source)

        def again() -> bool:
            watermark = source.watermark()
            return watermark is not None and watermark.epoch == 2 and source.mark("employee").state == FOLLOWED

        eventually(again, "the second epoch's snapshot")
        running.streaming()
    assert len(source.rows("employee")) == 10
    assert {r.position.epoch for r in source.raw("employee")} == {1, 2}


def test_a_lost_watermark_beside_raw_records_is_a_stop_until_an_operator_gives_the_epoch(source: Source) -> None:
    followed_once(source)
    source.kafka_tombstone_watermark()
    with source.followed() as running:
        running.faulty("--epoch N")
        resnapshot(source, "--epoch", "7")
        running.streaming()
    assert max(r.position.epoch for r in source.raw("employee")) == 7


def test_a_raw_topic_made_again_is_refused(source: Source) -> None:
    followed_once(source)
    source.make_topic_again("employee")
    with source.followed() as running:
        running.faulty("raw topic was deleted and created again")
        resnapshot(source, "--table", "public.employee")
        running.whole()
    assert len(source.rows("employee")) == 11


@pytest.mark.parametrize(
    ("spoil", "says", "mend"),
    [
        (
            "ALTER TABLE employee DROP CONSTRAINT employee_pkey",
            "no primary key",
            "ALTER TABLE employee ADD PRIMARY KEY (id)",
        ),
        ("ALTER TABLE employee REPLICA IDENTITY NOTHING", "NOTHING", "ALTER TABLE employee REPLICA IDENTITY DEFAULT"),
        ("ALTER TABLE employee RENAME TO staff", "does not exist", "ALTER TABLE staff RENAME TO employee"),
        ("ALTER TABLE employee SET UNLOGGED", "unlogged", "ALTER TABLE employee SET LOGGED"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_by_name_and_taken_once_mended(
    source: Source, spoil: str, says: str, mend: str
) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    source.sql(spoil)
    with source.followed() as running:
        fault = running.faulty(says)
        assert "public.employee" in fault
        assert "Ada" not in fault
        source.sql(mend)
        running.streaming()
    assert len(source.rows("employee")) == 1


def test_a_user_who_may_not_create_the_publication_is_told_the_statement(source: Source) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    source.sql(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'secret'")
    source.sql(f"GRANT SELECT ON employee TO {role}")
    try:
        with source.as_user(role, "secret").followed() as running:
            fault = running.faulty("CREATE PUBLICATION")
            assert '"public"."employee"' in fault
            assert "secret" not in fault
            statement = fault.split("run as the tables' owner: ")[1]
            source.sql(statement)
            running.streaming()
    finally:
        source.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_publication_of_partitions_under_their_own_names_is_refused(source: Source) -> None:
    source.sql("ALTER TABLE employee RENAME TO employee_1")
    source.sql("CREATE TABLE employee (LIKE employee_1 INCLUDING ALL) PARTITION BY RANGE (id)")
    source.sql("ALTER TABLE employee ATTACH PARTITION employee_1 FOR VALUES FROM (0) TO (1000)")
    source.sql(f"CREATE PUBLICATION {source.slot.publication} FOR TABLE employee")
    with source.followed() as running:
        running.faulty("publish_via_partition_root = true")
        source.sql(f"ALTER PUBLICATION {source.slot.publication} SET (publish_via_partition_root = true)")
        running.streaming()
        source.sql("INSERT INTO employee VALUES (1, 'Ada')")
        source.published_up_to(source.wal_lsn())
    assert list(source.rows("employee")) == [b'{"id":1}']


def test_a_wrong_password_is_a_fault_that_does_not_quote_it(source: Source) -> None:
    with source.as_user("postgres", "wr0ng-secret").followed() as running:
        fault = running.faulty("password authentication failed")
        assert "wr0ng-secret" not in fault
