"""Triggers, functions and constraints that others put on a golden table: a fault that says which, or one dead letter;
never a bug of ours, never a row's content in a log, and nothing is lost."""

import psycopg
import pytest

from sluice.errors import EnvironmentFault
from support.canonical import record
from support.sink import TOPIC, names, store, upsert, write
from support.sink_stage import SinkRig
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
def test_what_a_trigger_raises_is_a_fault_that_names_table_record_function_and_code(
    postgres_dsn: str, raise_with: str, state: str
) -> None:
    sink = store(postgres_dsn)
    claim = sink.claim(TOPIC, 0, "id")
    on_golden_worker(postgres_dsn, raise_with)
    batch = [*(upsert(f"W{n}", n) for n in range(20)), upsert("B", 20, full_name="bad"), upsert("Z", 21)]
    with pytest.raises(EnvironmentFault) as fault:
        write(sink, claim, batch)
    assert fault.value.where == "table golden.worker: writing the row of partition 0, offset 20"
    assert f"({state}) of PL/pgSQL function golden.guard() line 1 at" in fault.value.why
    assert "resumes by itself" in fault.value.next_step
    assert "refused: bad" not in str(fault.value)
    sink.rollback()
    assert names(postgres_dsn) == {}
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TRIGGER guard ON golden.worker")
    assert write(sink, sink.claim(TOPIC, 0, "id"), batch).effective.total() == 22


def test_a_trigger_that_means_one_record_says_so_and_only_that_one_is_parked(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    claim = sink.claim(TOPIC, 0, "id")
    on_golden_worker(postgres_dsn, "EXCEPTION 'no %', NEW.full_name USING ERRCODE = 'check_violation'")
    batch = [
        *(upsert(f"W{n}", n) for n in range(20)),
        upsert("B", 20, full_name="bad"),
        upsert("C", 21, full_name="bad"),
    ]
    written = write(sink, claim, batch)
    assert [one.change.entity_id for one in written.rejected] == ["B", "C"]
    first, second = (str(one.error) for one in written.rejected)
    assert first == second, "one cause, whatever the offset"
    assert "table golden.worker: CheckViolation (23514) of PL/pgSQL function golden.guard()" in first
    assert "bad" not in first.replace("bad-", "")
    assert len(names(postgres_dsn)) == 20


def test_a_constraint_that_is_checked_at_the_commit_is_a_fault_that_names_it(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    claim = sink.claim(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "ALTER TABLE golden.worker ADD CONSTRAINT one_name UNIQUE (full_name) DEFERRABLE INITIALLY DEFERRED"
        )
    with pytest.raises(EnvironmentFault, match="constraint one_name of table worker: UniqueViolation") as fault:
        write(sink, claim, [upsert("A", 1, full_name=SECRET), upsert("B", 2, full_name=SECRET)])
    assert "NOT DEFERRABLE" in fault.value.next_step
    assert SECRET not in str(fault.value)


def test_a_sink_that_a_trigger_stops_says_so_and_resumes_by_itself_with_nothing_lost(rig: SinkRig) -> None:
    rig.create()
    rig.publish("W0", record(employee_number="W0"))
    rig.run_to_end()
    on_golden_worker(rig.dsn, "EXCEPTION 'closed for the payroll run of %', NEW.full_name", condition="true")
    with rig.running():
        rig.publish("W1", record(employee_number="W1", full_name=SECRET))
        told = eventually(lambda: " ".join(rig.health.faults.values()), "the fault")
        assert "table golden.worker" in told
        assert "P0001" in told
        assert SECRET not in told
        with psycopg.connect(rig.dsn) as connection:
            connection.execute("DROP TRIGGER guard ON golden.worker")
        eventually(lambda: rig.committed() == rig.ends(), "the sink goes on")
        eventually(lambda: not rig.health.faults, "no fault is left")
    assert set(names(rig.dsn)) == {"W0", "W1"}
    assert rig.dead_letters() == []
