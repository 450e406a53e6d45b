"""Changes of a golden table by others than the sink: a fault that says who, when and what, with the command that makes
the table equal. Allowed changes are no fault."""

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from structlog.testing import capture_logs

from sluice.errors import EnvironmentFault
from sluice.golden.connection import connect
from sluice.golden.rebuild import Span, prepare_rebuild
from sluice.golden.store import GoldenStore
from sluice.kafka.groups import members_of
from support.canonical import record
from support.sink import TABLE, TOPIC, names, rows, store, upsert, write
from support.sink_stage import SinkRig, rebuild
from support.waiting import eventually

ROWS = "SELECT to_jsonb(t) - '_topic_epoch' - 'full' FROM golden.worker AS t ORDER BY entity_id"
AGAIN = (
    "CREATE TABLE golden.worker (LIKE golden.kept INCLUDING ALL); INSERT INTO golden.worker SELECT * FROM golden.kept"
)
BY_HAND = {
    "delete": ("DELETE FROM golden.worker WHERE entity_id = 'W1'", "DELETE by user"),
    "truncate": ("TRUNCATE golden.worker", "TRUNCATE by user"),
    "offset": ("UPDATE golden.worker SET _offset = 1000000", "UPDATE by user"),
    "epoch": ("UPDATE golden.worker SET _topic_epoch = 9", "UPDATE by user"),
    "last epoch": ("UPDATE golden.worker SET _topic_epoch = 2147483647", "UPDATE by user"),
    "partition": ("UPDATE golden.worker SET _partition = -1", "UPDATE by user"),
    "key": ("UPDATE golden.worker SET entity_id = 'X' || entity_id", "UPDATE by user"),
    "no origin": (
        "ALTER TABLE golden.worker ALTER _offset DROP NOT NULL; UPDATE golden.worker SET _offset = NULL",
        "UPDATE by user",
    ),
    "insert": (
        'INSERT INTO golden.worker SELECT (jsonb_populate_record(w, \'{"entity_id": "ghost"}\')).* '
        "FROM golden.worker AS w LIMIT 1",
        "INSERT by user",
    ),
    "copy": (
        "CREATE TABLE golden.kept AS SELECT * FROM golden.worker; DELETE FROM golden.worker; "
        "SET session_replication_role = replica; INSERT INTO golden.worker SELECT * FROM golden.kept",
        "INSERT by user",
    ),
    "unseen": (
        "ALTER TABLE golden.worker DISABLE TRIGGER ALL; DELETE FROM golden.worker; "
        "ALTER TABLE golden.worker ENABLE TRIGGER ALL",
        "sluice_watch was dropped or switched off",
    ),
    "unwatched": (
        "DROP FUNCTION golden._note_foreign_write CASCADE; DELETE FROM golden.worker",
        "sluice_watch was dropped or switched off",
    ),
    "column": ("ALTER TABLE golden.worker DROP COLUMN level CASCADE", "column level dropped or re-created"),
    "column re-created": (
        "ALTER TABLE golden.worker DROP COLUMN level CASCADE; ALTER TABLE golden.worker ADD COLUMN level bigint",
        "column level dropped or re-created",
    ),
    "columns swapped": (
        "ALTER TABLE golden.worker RENAME COLUMN full_name TO x; "
        "ALTER TABLE golden.worker RENAME COLUMN employee_number TO full_name; "
        "ALTER TABLE golden.worker RENAME COLUMN x TO employee_number",
        "column employee_number dropped or re-created",
    ),
    "offsets dropped": ("ALTER TABLE golden.worker DROP COLUMN _offset CASCADE", "lacks column _offset"),
    "no key": ("ALTER TABLE golden.worker DROP CONSTRAINT worker_pkey", "lacks a unique key on entity_id"),
    "key dropped": ("ALTER TABLE golden.worker DROP COLUMN entity_id CASCADE", "lacks column entity_id"),
    "dropped": ("DROP TABLE golden.worker CASCADE", "does not exist, though its topic was processed"),
    "re-created": (
        "CREATE TABLE golden.kept (LIKE golden.worker INCLUDING ALL); "
        "INSERT INTO golden.kept SELECT * FROM golden.worker; "
        f"DROP TABLE golden.worker CASCADE; {AGAIN}; DELETE FROM golden.worker WHERE entity_id = 'W1'",
        "dropped and re-created, or restored from a dump",
    ),
    "child by inheritance": (
        "CREATE TABLE golden.extra () INHERITS (golden.worker); "
        "INSERT INTO golden.extra SELECT * FROM ONLY golden.worker WHERE entity_id = 'W1'; "
        "UPDATE golden.extra SET entity_id = 'ghost'",
        "INHERIT with golden.extra",
    ),
    "parent by inheritance": (
        "CREATE TABLE golden.parent (LIKE golden.worker); ALTER TABLE golden.worker INHERIT golden.parent; "
        "DELETE FROM golden.parent WHERE entity_id = 'W1'",
        "INHERIT with golden.parent",
    ),
    "re-created without a key": (
        "CREATE TABLE golden.kept AS SELECT * FROM golden.worker; DROP TABLE golden.worker CASCADE; "
        "CREATE TABLE golden.worker AS SELECT * FROM golden.kept UNION ALL SELECT * FROM golden.kept",
        "lacks a unique key on entity_id",
    ),
    "cascade": (
        "CREATE TABLE golden.boss AS SELECT entity_id AS id FROM golden.worker; "
        "ALTER TABLE golden.boss ADD PRIMARY KEY (id); ALTER TABLE golden.worker ADD CONSTRAINT boss "
        "FOREIGN KEY (entity_id) REFERENCES golden.boss ON DELETE CASCADE; "
        "SET sluice.writer = sink; DELETE FROM golden.boss WHERE id = 'W1'",
        "DELETE by user",
    ),
    "another's trigger": (
        "CREATE FUNCTION golden.more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE golden.worker "
        "SET full_name = 'by a trigger' WHERE entity_id = 'W1'; RETURN NULL; END $$; "
        "CREATE TRIGGER more AFTER INSERT OR UPDATE ON golden.worker FOR EACH ROW WHEN (NEW.entity_id = 'later') "
        "EXECUTE FUNCTION golden.more()",
        "UPDATE by user",
    ),
}
UNDONE = {
    "another's trigger": "DROP TRIGGER more ON golden.worker",
    "cascade": "ALTER TABLE golden.worker DROP CONSTRAINT boss",
    "child by inheritance": "DROP TABLE golden.extra",
    "parent by inheritance": "ALTER TABLE golden.worker NO INHERIT golden.parent",
}
ALLOWED = {
    "reads": "SELECT * FROM golden.worker",
    "vacuum": "VACUUM FULL golden.worker",
    "analyze": "ANALYZE golden.worker",
    "cluster": "CLUSTER golden.worker USING worker_pkey",
    "index": "CREATE INDEX ON golden.worker (full_name)",
    "grant": "GRANT SELECT ON golden.worker TO PUBLIC",
    "view": "CREATE VIEW golden.mine AS SELECT * FROM golden.worker",
    "comment": "COMMENT ON TABLE golden.worker IS 'people'",
    "column": "ALTER TABLE golden.worker ADD COLUMN mine text",
    "column with a default": "ALTER TABLE golden.worker ADD COLUMN mine text NOT NULL DEFAULT ''",
    "generated": "ALTER TABLE golden.worker ADD COLUMN mine text GENERATED ALWAYS AS (upper(full_name)) STORED",
    "check": "ALTER TABLE golden.worker ADD CHECK (full_name <> 'bad')",
    "audit": "CREATE TABLE golden.audit (at timestamptz); "
    "CREATE FUNCTION golden.note() RETURNS trigger LANGUAGE plpgsql "
    "AS $$ BEGIN INSERT INTO golden.audit VALUES (now()); RETURN NULL; END $$; CREATE TRIGGER audit AFTER INSERT OR "
    "UPDATE OR DELETE ON golden.worker FOR EACH ROW EXECUTE FUNCTION golden.note()",
}


def by_hand(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for one in statements.split("; ") if "$$" not in statements else [statements]:
            connection.execute(one.encode())


def filled(dsn: str) -> GoldenStore:
    sink = store(dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert(f"W{n}", n) for n in range(3)])
    return sink


def fault(sink: GoldenStore) -> EnvironmentFault | None:
    (found,) = sink.check().values()
    return found


def later(sink: GoldenStore, offset: int) -> None:
    """A record comes meanwhile; it is written if the table can be written to."""
    try:
        write(sink, sink.lease(TOPIC, 0, "id"), [upsert("later", offset)])
    except EnvironmentFault:
        sink.rollback()


def rebuilt(dsn: str, offsets: Sequence[tuple[str, int]]) -> GoldenStore:
    """Fill the table as `sluice sink rebuild` and a sink do, from a topic with `offsets`."""
    end = max(offset for _, offset in offsets) + 1
    with connect(dsn, "sink test") as connection:
        epoch = prepare_rebuild(connection, TABLE, TOPIC, "id", {0: Span(0, end)})
    sink = store(dsn)
    changes = [upsert(name, offset, epoch=epoch) for name, offset in offsets]
    write(sink, sink.lease(TOPIC, 0, "id"), changes, [(0, name) for name, _ in offsets])
    return sink


@pytest.mark.parametrize("change", BY_HAND)
def test_a_change_of_a_golden_table_by_others_is_a_fault_until_the_command_that_it_names_makes_it_equal(
    postgres_dsn: str, change: str
) -> None:
    statements, expected = BY_HAND[change]
    sink = filled(postgres_dsn)
    later(sink, 3)
    before = rows(postgres_dsn, ROWS)
    assert fault(sink) is None, "a write by the sink is no fault"
    by_hand(postgres_dsn, statements)
    later(sink, 4)
    found = fault(sink)
    assert found is not None
    assert expected in found.why
    assert found.where == "table golden.worker"
    assert "`sluice sink rebuild worker`" in found.next_step
    assert found.why == str(getattr(fault(store(postgres_dsn)), "why", "")), "the fault is the same after a restart"
    by_hand(postgres_dsn, UNDONE.get(change, "SELECT"))
    repaired = rebuilt(postgres_dsn, [("W0", 0), ("W1", 1), ("W2", 2), ("later", 3)])
    assert rows(postgres_dsn, ROWS) == before
    assert fault(repaired) is None


@pytest.mark.parametrize("done", ALLOWED.values(), ids=ALLOWED)
def test_an_allowed_change_of_a_golden_table_is_no_fault_and_rows_are_written(postgres_dsn: str, done: str) -> None:
    sink = filled(postgres_dsn)
    by_hand(postgres_dsn, done)
    for offset in (3, 4):
        assert write(sink, sink.lease(TOPIC, 0, "id"), [upsert(f"W{offset}", offset)]).effective.total() == 1
        assert fault(sink) is None
        sink.rollback()
    assert len(names(postgres_dsn)) == 5


@pytest.mark.parametrize("column", ["full_name", "_revision", "entity_id"])
def test_a_renamed_column_is_not_added_again_and_the_fault_names_the_statement_that_renames_it_back(
    postgres_dsn: str, column: str
) -> None:
    sink = filled(postgres_dsn)
    before = rows(postgres_dsn, ROWS)
    by_hand(postgres_dsn, f"ALTER TABLE golden.worker RENAME COLUMN {column} TO other")
    for _ in range(2):
        later(sink, 3)
        assert f"column {column} was renamed to other" in str(fault(sink))
    found = fault(sink)
    assert found is not None
    assert rows(postgres_dsn, "SELECT count(*) FROM golden.worker") == [(3,)]
    by_hand(postgres_dsn, found.next_step.removeprefix("run: ").split(";")[0])
    assert fault(sink) is None
    assert rows(postgres_dsn, ROWS) == before


def test_values_lost_by_a_changed_type_need_a_rebuild(postgres_dsn: str) -> None:
    sink = filled(postgres_dsn)
    by_hand(
        postgres_dsn,
        "DROP VIEW golden.worker_provenance; ALTER TABLE golden.worker ALTER COLUMN height TYPE numeric(10,0)",
    )
    found = fault(sink)
    assert found is not None
    by_hand(postgres_dsn, found.next_step.removeprefix("run: ").rsplit(";", 1)[0])
    assert rows(postgres_dsn, "SELECT DISTINCT height::text FROM golden.worker") == [("2.000",)]
    assert "ALTER COLUMN height TYPE" in str(fault(sink))
    assert fault(rebuilt(postgres_dsn, [("W0", 0), ("W1", 1), ("W2", 2)])) is None
    assert rows(postgres_dsn, "SELECT DISTINCT height::text FROM golden.worker") == [("1.700",)]


def test_a_column_of_others_that_no_insert_could_fill_is_a_fault_and_parks_nothing(postgres_dsn: str) -> None:
    sink = filled(postgres_dsn)
    by_hand(
        postgres_dsn,
        "ALTER TABLE golden.worker ADD COLUMN mine text NOT NULL DEFAULT ''; "
        "ALTER TABLE golden.worker ALTER mine DROP DEFAULT",
    )
    found = fault(sink)
    assert found is not None
    by_hand(postgres_dsn, found.next_step.removeprefix("run: ").split(", or")[0])
    assert fault(sink) is None


@pytest.fixture
def other(postgres_dsn: str) -> Iterator[str]:
    """A user of this test alone, by the dsn to connect with."""
    name = f"user_of_{psycopg.conninfo.conninfo_to_dict(postgres_dsn)['dbname']}"
    by_hand(postgres_dsn, f"CREATE ROLE {name} LOGIN PASSWORD 'test'")
    yield psycopg.conninfo.make_conninfo(postgres_dsn, user=name, password="test")
    by_hand(postgres_dsn, f"DROP OWNED BY {name}; DROP ROLE {name}")


def grant(dsn: str, other: str, *granted: str) -> str:
    """Grant to the user of `other`, who is returned."""
    name = str(psycopg.conninfo.conninfo_to_dict(other)["user"])
    by_hand(dsn, "; ".join(f"GRANT {one} TO {name}" for one in granted))
    return name


def test_writes_of_a_user_with_rights_on_the_table_alone_are_reported_once(postgres_dsn: str, other: str) -> None:
    sink = filled(postgres_dsn)
    name = grant(postgres_dsn, other, "USAGE ON SCHEMA golden", "SELECT, UPDATE ON golden.worker")
    for _ in range(3):
        by_hand(other, "UPDATE golden.worker SET full_name = 'x'")
    found, again = fault(sink), fault(sink)
    assert found is not None
    assert again is not None
    assert f"UPDATE by user {name} (first " in found.why
    assert found.why == again.why
    assert rows(postgres_dsn, "SELECT count(*) FROM golden._foreign_writes") == [(1,)]


def test_while_no_sink_runs_the_notes_are_bounded_and_the_oldest_are_kept(postgres_dsn: str) -> None:
    filled(postgres_dsn).rollback()
    update = "UPDATE golden.worker SET full_name = 'x' WHERE entity_id = 'W1'"
    by_hand(postgres_dsn, f"DO $$ BEGIN FOR i IN 1..1100 LOOP {update}; END LOOP; END $$")
    by_hand(postgres_dsn, BY_HAND["delete"][0])
    assert rows(postgres_dsn, "SELECT count(*) FROM golden._foreign_writes") == [(1000,)]
    found = fault(store(postgres_dsn))
    assert found is not None
    assert "UPDATE by user" in found.why


OLDER_VERSION = "DROP TABLE golden._made, golden._foreign_writes; DROP FUNCTION golden._note_foreign_write CASCADE"


def test_a_sink_that_may_not_create_triggers_writes_without_a_watch_and_logs_it_once(
    postgres_dsn: str, other: str
) -> None:
    filled(postgres_dsn).rollback()
    by_hand(postgres_dsn, OLDER_VERSION)
    everything = (f"ALL ON ALL {kind} IN SCHEMA golden" for kind in ("TABLES", "SEQUENCES"))
    grant(postgres_dsn, other, "USAGE ON SCHEMA golden", *everything)
    sink = store(other)
    with capture_logs() as logs:
        for offset in (3, 4):
            write(sink, sink.lease(TOPIC, 0, "id"), [upsert(f"W{offset}", offset)])
            assert fault(sink) is None
            sink.rollback()
    (line,) = [one for one in logs if one["event"] == "golden tables are not watched"]
    assert "permission denied" in line["why"]


def test_a_database_of_an_older_version_gets_its_watch_at_the_next_start(postgres_dsn: str) -> None:
    filled(postgres_dsn).rollback()
    by_hand(postgres_dsn, OLDER_VERSION)
    sink = store(postgres_dsn)
    assert fault(sink) is None
    by_hand(postgres_dsn, BY_HAND["delete"][0])
    assert fault(sink) is not None


def test_a_schema_that_was_restored_as_a_whole_is_noted_again(postgres_dsn: str) -> None:
    filled(postgres_dsn).rollback()
    by_hand(
        postgres_dsn,
        "CREATE TABLE golden.kept AS SELECT * FROM golden._made; DROP TABLE golden._made; "
        "ALTER TABLE golden.kept RENAME TO _made; ALTER TABLE golden._made ADD PRIMARY KEY (entity); "
        "UPDATE golden._made SET made = 1",
    )
    assert fault(store(postgres_dsn)) is None
    assert rows(postgres_dsn, "SELECT made = 'golden.worker'::regclass::bigint FROM golden._made") == [(True,)]


def test_a_running_sink_reports_the_fault_within_seconds_and_the_rebuild_resolves_it(rig: SinkRig) -> None:
    rig.create()
    for number in range(10):
        rig.publish(f"W{number}", record(employee_number=f"W{number}"))
    with rig.running():
        eventually(lambda: rig.committed() == rig.ends(), "the first rows")
        by_hand(rig.dsn, "DELETE FROM golden.worker WHERE entity_id IN ('W1', 'W2')")
        reason = eventually(lambda: rig.health.faults.get("rows of golden.worker"), "the fault")
        assert "DELETE by user" in reason
        rig.publish("later", record(employee_number="later"))
        eventually(lambda: "later" in names(rig.dsn), "others are written meanwhile")
        assert "rows of golden.worker" in rig.health.faults
    eventually(lambda: members_of(rig.admin, rig.group) == 0, "the group is empty")
    rebuild(rig)
    with rig.running():
        eventually(lambda: rig.committed() == rig.ends() and not rig.health.faults, "no fault is left")
    assert len(names(rig.dsn)) == 11
