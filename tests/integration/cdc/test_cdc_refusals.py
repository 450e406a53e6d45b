"""ingress-cdc refuses to resume if changes may be lost, and resumes by itself after the repair."""

from __future__ import annotations

import uuid

import pytest

from sluice.cdc.slots import format_lsn
from sluice.cdc.watermarks import FOLLOWED
from support.cdc import Source
from support.cdc_commands import resnapshot
from support.waiting import eventually


def followed_once(source: Source) -> None:
    """Rows 1 to 11 are published, and the stage is stopped."""
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 10) g")
    with source.followed() as running:
        running.await_streaming()
        source.sql("INSERT INTO employee VALUES (11, 'n')")
        source.published_up_to(source.wal_lsn())


def lose_changes(source: Source, *, recreate_slot: bool) -> None:
    # On a busy machine, the server needs a moment to see that the stage has closed its connection.
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    eventually(lambda: not source.sql(active, [source.slot.slot])[0][0], "the slot to be released")
    source.sql("SELECT pg_drop_replication_slot(%s)", [source.slot.slot])
    source.sql("DELETE FROM employee WHERE id <= 3")
    source.sql("UPDATE employee SET name = 'lost' WHERE id = 4")
    source.sql("INSERT INTO employee VALUES (12, 'n')")
    if recreate_slot:
        source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [source.slot.slot])


@pytest.mark.parametrize("recreate_slot", [True, False], ids=["created again", "missing"])
def test_a_slot_dropped_while_the_stage_is_stopped_is_refused_until_a_resnapshot_sweeps_what_was_lost(
    source: Source, recreate_slot: bool
) -> None:
    followed_once(source)
    lose_changes(source, recreate_slot=recreate_slot)
    before = source.watermark()
    assert before is not None
    records_before = len(source.raw("employee"))
    with source.followed() as running:
        says = running.await_fault("sluice cdc resnapshot erp")
        assert format_lsn(before.lsn) in says
        if recreate_slot:
            assert format_lsn(source.confirmed_lsn()) in says
        assert source.slot.slot in says
        assert len(source.raw("employee")) == records_before
        assert resnapshot(source) == {"source": "erp", "resnapshot_epoch": 2}
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    names = {row["id"]: row["name"] for row in source.rows("employee").values()}
    assert names == dict(source.sql("SELECT id, name FROM employee"))
    assert names[4] == "lost"
    swept = {r.position.epoch for r in source.raw("employee") if r.is_sweep}
    assert swept == {1, 2}


def test_a_running_stage_does_a_resnapshot_without_a_restart(source: Source) -> None:
    source.sql("INSERT INTO employee SELECT g, 'n', 1 FROM generate_series(1, 10) g")
    with source.followed() as running:
        running.await_streaming()
        resnapshot(source)

        def again() -> bool:
            watermark = source.watermark()
            return watermark is not None and watermark.epoch == 2 and source.mark("employee").state == FOLLOWED

        eventually(again, "the second epoch's snapshot")
        running.await_streaming()
    assert len(source.rows("employee")) == 10
    assert {r.position.epoch for r in source.raw("employee")} == {1, 2}


def test_a_lost_watermark_with_raw_records_is_refused_until_an_operator_gives_the_epoch(source: Source) -> None:
    followed_once(source)
    source.delete_watermark()
    with source.followed() as running:
        running.await_fault("--epoch N")
        resnapshot(source, "--epoch", "7")
        running.await_streaming()
    assert max(r.position.epoch for r in source.raw("employee")) == 7


def test_a_raw_topic_that_was_created_again_blocks_its_table(source: Source) -> None:
    followed_once(source)
    source.recreate_topic("employee")
    with source.followed() as running:
        running.await_fault("raw topic was deleted and created again")
        resnapshot(source, "--table", "public.employee")
        running.await_no_fault()
    assert len(source.rows("employee")) == 11


@pytest.mark.parametrize(
    ("spoil", "says", "fix"),
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
def test_a_table_that_cannot_be_followed_is_named_and_is_followed_once_it_is_fixed(
    source: Source, spoil: str, says: str, fix: str
) -> None:
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    source.sql(spoil)
    with source.followed() as running:
        fault = running.await_fault(says)
        assert "public.employee" in fault
        assert "Ada" not in fault
        source.sql(fix)
        running.await_streaming()
    assert len(source.rows("employee")) == 1


def test_a_user_who_may_not_create_the_publication_gets_the_statement(source: Source) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    source.sql(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'secret'")
    source.sql(f"GRANT SELECT ON employee TO {role}")
    try:
        with source.as_user(role, "secret").followed() as running:
            fault = running.await_fault("CREATE PUBLICATION")
            assert '"public"."employee"' in fault
            assert "secret" not in fault
            statement = fault.split("run as the tables' owner: ")[1]
            source.sql(statement)
            running.await_streaming()
    finally:
        source.sql(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_publication_of_partitions_under_their_own_names_is_refused(source: Source) -> None:
    source.sql("ALTER TABLE employee RENAME TO employee_1")
    source.sql("CREATE TABLE employee (LIKE employee_1 INCLUDING ALL) PARTITION BY RANGE (id)")
    source.sql("ALTER TABLE employee ATTACH PARTITION employee_1 FOR VALUES FROM (0) TO (1000)")
    source.sql(f"CREATE PUBLICATION {source.slot.publication} FOR TABLE employee")
    with source.followed() as running:
        running.await_fault("publish_via_partition_root = true")
        source.sql(f"ALTER PUBLICATION {source.slot.publication} SET (publish_via_partition_root = true)")
        running.await_streaming()
        source.sql("INSERT INTO employee VALUES (1, 'Ada')")
        source.published_up_to(source.wal_lsn())
    assert list(source.rows("employee")) == [b'{"id":1}']


def test_a_wrong_password_is_a_fault_that_does_not_quote_it(source: Source) -> None:
    with source.as_user("postgres", "wr0ng-secret").followed() as running:
        fault = running.await_fault("password authentication failed")
        assert "wr0ng-secret" not in fault
