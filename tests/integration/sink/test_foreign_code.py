"""Triggers, functions and constraints of others on a golden table: a fault that names them, or one dead letter. Never a
bug of ours, never a row's content in a log, and nothing is lost."""

from functools import partial

import psycopg
import pytest

from sluice.errors import EnvironmentFault, TopicFault
from sluice.golden.connection import connect
from sluice.golden.rebuild import Span, prepare_rebuild
from support.canonical import record
from support.sink import TABLE, TOPIC, names, store, tombstone, upsert, write
from support.sink_stage import SecondEntity, SinkRig
from support.waiting import eventually

SECRET = "Quirin Ofterdinger"


def on_golden_worker(dsn: str, raise_with: str, *, condition: str = "NEW.full_name = 'bad'") -> None:
    """A trigger that refuses what fulfils `condition`, with the rest of a RAISE statement as given."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            f"CREATE FUNCTION golden.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN "
            f"RAISE {raise_with}; END IF; RETURN coalesce(NEW, OLD); END $$"
        )
        connection.execute(
            "CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON golden.worker "
            "FOR EACH ROW EXECUTE FUNCTION golden.guard()"
        )


@pytest.mark.parametrize(
    ("raise_with", "state"),
    [
        ("EXCEPTION 'refused: %', NEW.full_name", "P0001"),
        ("EXCEPTION 'refused: %', NEW.full_name USING ERRCODE = 'U0042'", "U0042"),
        ("EXCEPTION 'refused: %', NEW.full_name USING ERRCODE = 'invalid_cursor_state'", "24000"),
        ("EXCEPTION 'refused: %', NEW.full_name USING ERRCODE = 'insufficient_privilege'", "42501"),
        ("NOTICE 'x'; PERFORM 1/(SELECT 0 FROM generate_series(1, 2))", "21000"),
    ],
    ids=lambda given: given if len(given) == 5 else "",
)
def test_an_error_raised_by_a_trigger_is_a_fault_that_names_table_record_function_and_code(
    postgres_dsn: str, raise_with: str, state: str
) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    on_golden_worker(postgres_dsn, raise_with)
    batch = [*(upsert(f"W{n}", n) for n in range(20)), upsert("B", 20, full_name="bad"), upsert("Z", 21)]
    with pytest.raises(EnvironmentFault) as fault:
        write(sink, lease, batch)
    assert fault.value.where == "table golden.worker: writing the row of partition 0, offset 20"
    assert f"({state}) of PL/pgSQL function golden.guard() line 1 at" in fault.value.why
    assert "resumes by itself" in fault.value.next_step
    assert "refused: bad" not in str(fault.value)
    sink.rollback()
    assert names(postgres_dsn) == {}
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TRIGGER guard ON golden.worker")
    assert write(sink, sink.lease(TOPIC, 0, "id"), batch).effective.total() == 22


def test_a_record_that_a_trigger_refuses_with_a_constraint_code_is_parked_alone(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    on_golden_worker(postgres_dsn, "EXCEPTION 'no %', NEW.full_name USING ERRCODE = 'check_violation'")
    batch = [
        *(upsert(f"W{n}", n) for n in range(20)),
        upsert("B", 20, full_name="bad"),
        upsert("C", 21, full_name="bad"),
    ]
    written = write(sink, lease, batch)
    assert [one.change.entity_id for one in written.rejected] == ["B", "C"]
    first, second = (str(one.error) for one in written.rejected)
    assert first == second, "one cause, whatever the offset"
    assert "table golden.worker: CheckViolation (23514) of PL/pgSQL function golden.guard()" in first
    assert "bad" not in first.replace("bad-", "")
    assert len(names(postgres_dsn)) == 20


def test_a_constraint_that_is_checked_at_the_commit_is_a_fault_that_names_it(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "ALTER TABLE golden.worker ADD CONSTRAINT one_name UNIQUE (full_name) DEFERRABLE INITIALLY DEFERRED"
        )
    with pytest.raises(EnvironmentFault, match="constraint one_name of table worker: UniqueViolation") as fault:
        write(sink, lease, [upsert("A", 1, full_name=SECRET), upsert("B", 2, full_name=SECRET)])
    assert "NOT DEFERRABLE" in fault.value.next_step
    assert SECRET not in str(fault.value)


def test_a_sink_stopped_by_a_trigger_reports_it_and_resumes_by_itself_with_nothing_lost(rig: SinkRig) -> None:
    rig.create()
    rig.publish("W0", record(employee_number="W0"))
    rig.run_to_end()
    on_golden_worker(rig.dsn, "EXCEPTION 'closed for the payroll run of %', NEW.full_name", condition="true")
    with rig.running():
        rig.publish("W1", record(employee_number="W1", full_name=SECRET))
        reason = eventually(lambda: " ".join(rig.health.faults.values()), "the fault")
        assert "table golden.worker" in reason
        assert "P0001" in reason
        assert SECRET not in reason
        with psycopg.connect(rig.dsn) as connection:
            connection.execute("DROP TRIGGER guard ON golden.worker")
        eventually(lambda: rig.committed() == rig.ends(), "the sink goes on")
        eventually(lambda: not rig.health.faults, "no fault is left")
    assert set(names(rig.dsn)) == {"W0", "W1"}
    assert rig.dead_letters() == []


def swallowing(dsn: str, event: str, condition: str = "true") -> None:
    """A trigger that accepts a row and drops it without an error."""
    row = "OLD" if event == "DELETE" else "NEW"
    with psycopg.connect(dsn) as connection:
        connection.execute(
            f"CREATE FUNCTION golden.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} THEN "
            f"RETURN NULL; END IF; RETURN {row}; END $$".encode()
        )
        connection.execute(
            f"CREATE TRIGGER quiet BEFORE {event} ON golden.worker FOR EACH ROW "
            "EXECUTE FUNCTION golden.swallow()".encode()
        )


def test_a_row_that_a_trigger_drops_in_silence_is_a_fault_that_names_it_before_anything_is_committed(
    postgres_dsn: str,
) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W1", 1)])
    swallowing(postgres_dsn, "INSERT OR UPDATE", "NEW.full_name = 'bad'")
    for batch in (
        [upsert("W2", 2), upsert("W3", 3, full_name="bad"), upsert("W1", 4, full_name="bad")],
        [upsert("W1", 4, full_name="bad"), upsert("W2", 2)],
    ):
        with pytest.raises(EnvironmentFault) as fault:
            write(sink, sink.lease(TOPIC, 0, "id"), batch)
        assert fault.value.where.startswith("table golden.worker: writing the row of partition 0, offset ")
        assert "trigger quiet (function golden.swallow)" in fault.value.why
        sink.rollback()
        assert names(postgres_dsn).keys() == {"W1"}
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TRIGGER quiet ON golden.worker")
    assert write(sink, sink.lease(TOPIC, 0, "id"), batch).effective.total() == 2


def test_a_superseded_row_is_not_reported_as_dropped(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    swallowing(postgres_dsn, "INSERT OR UPDATE OR DELETE", "false")
    write(sink, lease, [upsert("W1", 5), upsert("W2", 1), tombstone("W2", 6)])
    assert write(sink, lease, [upsert("W1", 4), upsert("W2", 2), tombstone("W1", 3)]).effective.total() <= 1
    assert names(postgres_dsn).keys() == {"W1"}


def test_a_delete_that_a_trigger_drops_in_silence_is_a_fault_that_names_it(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W1", 1), upsert("W2", 2)])
    swallowing(postgres_dsn, "DELETE")
    with pytest.raises(EnvironmentFault) as fault:
        write(sink, lease, [tombstone("W1", 3)])
    assert fault.value.where == "table golden.worker: writing the delete of partition 0, offset 3"
    assert "trigger quiet (function golden.swallow)" in fault.value.why
    sink.rollback()
    with connect(postgres_dsn, "sink test") as connection:
        epoch = prepare_rebuild(connection, TABLE, TOPIC, "id", {0: Span(0, 3)})
    lease = sink.lease(TOPIC, 0, "id")
    with pytest.raises(EnvironmentFault, match="left out 1 row: dropped by trigger quiet") as fault:
        write(sink, lease, [upsert("W2", 2, epoch=epoch)], [(0, "W2")])
    assert fault.value.where == "table golden.worker: deleting the rows that partition 0 lacks"


@pytest.mark.parametrize("event", ["INSERT", "UPDATE", "DELETE"])
def test_a_rule_instead_of_a_write_is_a_fault_of_its_topic_alone(postgres_dsn: str, event: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W1", 1)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(f"CREATE RULE quiet AS ON {event} TO golden.worker DO INSTEAD NOTHING".encode())
    with pytest.raises(TopicFault, match="drop the rules of that table") as fault:
        write(sink, lease, [upsert("W1", 2) if event != "DELETE" else tombstone("W1", 2)])
    assert fault.value.topic == TOPIC


def test_a_table_that_cannot_be_written_stops_its_own_entity_and_the_others_go_on(rig: SinkRig) -> None:
    rig.create()
    rig.publish("W0", record(employee_number="W0"))
    second = SecondEntity(rig)
    second.publish("P0")
    rig.run_to_end()
    with psycopg.connect(rig.dsn) as connection:
        connection.execute("CREATE RULE quiet AS ON INSERT TO golden.worker DO INSTEAD NOTHING")
    with rig.running():
        rig.publish("W1", record(employee_number="W1"))
        eventually(lambda: "table golden.worker" in " ".join(rig.health.faults.values()), "the fault")
        for number in range(1, 4):
            second.publish(f"P{number}")
            expected = {f"P{one}" for one in range(number + 1)}
            eventually(partial(second.has, expected), "the other entity goes on")
        assert "table golden.worker" in " ".join(rig.health.faults.values())
        assert set(names(rig.dsn)) == {"W0"}
        with psycopg.connect(rig.dsn) as connection:
            connection.execute("DROP RULE quiet ON golden.worker")
        eventually(lambda: rig.committed() == rig.ends(), "it goes on by itself")
        eventually(lambda: not rig.health.faults, "no fault is left")
    assert set(names(rig.dsn)) == {"W0", "W1"}
    assert rig.dead_letters() == []
