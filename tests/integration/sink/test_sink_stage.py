"""The assembled sink on real Kafka and Postgres: commit order, replay, poison, and faults after which it resumes."""

import psycopg
import pytest

from sluice.kafka import murmur2_partition
from sluice.kafka.groups import members_of
from support.canonical import record
from support.sink import names, rows
from support.sink_stage import SinkRig, rebuild
from support.waiting import eventually

CHECKSUM = "SELECT md5(string_agg(t::text, '|' ORDER BY entity_id)) FROM golden.worker AS t"


def _fill(rig: SinkRig, count: int = 40) -> None:
    rig.create()
    for number in range(count):
        rig.publish(f"W{number}", record(employee_number=f"W{number}"))


def test_canonical_records_become_rows_and_the_ledger_accounts_for_each(rig: SinkRig) -> None:
    _fill(rig)
    rig.publish("W1", None)
    rig.run_to_end()
    assert set(names(rig.dsn)) == {f"W{number}" for number in range(40)} - {"W1"}
    lines = [line for (line,) in rows(rig.dsn, "SELECT line FROM golden._ledger ORDER BY id")]
    assert sum(line["visible"] for line in lines) == 41
    for line in lines:
        outcomes = ("mapped", "unchanged", "superseded", "filtered", "dead", "skipped")
        assert line["visible"] == sum(line[outcome] for outcome in outcomes)
    assert rows(rig.dsn, "SELECT sum(processed) FROM golden._owner") == [(sum(rig.ends().values()),)]


def test_only_poison_is_parked_with_its_bytes(rig: SinkRig) -> None:
    _fill(rig, 10)
    poison = {
        "not-avro": b"\x01\x02",
        "too-big": rig.encode(record(height="99999999999.000")),
        "nul": rig.encode(record(full_name="a\0b")),
    }
    for key, value in poison.items():
        rig.publish(key, value)
    rig.publish("last", record(employee_number="last"))
    rig.run_to_end()
    assert set(names(rig.dsn)) == {*(f"W{number}" for number in range(10)), "last"}
    letters = {(key or b"").decode(): (value, headers) for key, value, headers in rig.dead_letters()}
    assert {key: value for key, (value, _) in letters.items()} == poison
    kinds = {key: headers["sluice-kind"].decode() for key, (_, headers) in letters.items()}
    assert kinds == {"not-avro": "bad-avro", "too-big": "refused-by-postgres", "nul": "nul-character"}
    for _, headers in letters.values():
        assert headers["__connect.errors.topic"].decode() == rig.topic
        assert b"99999999999" not in headers["__connect.errors.exception.message"]


def test_a_rewind_by_some_offsets_deletes_nothing_and_changes_nothing(rig: SinkRig) -> None:
    _fill(rig)
    rig.publish("W1", None)
    rig.run_to_end()
    before = rows(rig.dsn, CHECKSUM)
    rig.reset({partition: max(0, offset - 3) for partition, offset in rig.committed().items()})
    rig.run_to_end()
    assert rows(rig.dsn, CHECKSUM) == before
    rig.reset(dict.fromkeys(range(rig.partitions), 0))
    rig.run_to_end()
    assert rows(rig.dsn, CHECKSUM) == before
    resets = [line["reset"] for (line,) in rows(rig.dsn, "SELECT line FROM golden._ledger ORDER BY id")]
    assert resets.count(True) == 4


def test_a_group_that_was_moved_forward_waits_and_names_what_it_would_skip(rig: SinkRig) -> None:
    _fill(rig, 10)
    rig.run_to_end()
    done = rig.committed()
    for number in range(10, 30):
        rig.publish(f"W{number}", record(employee_number=f"W{number}"))
    ends = rig.ends()
    rig.reset(ends)
    with rig.running():
        eventually(lambda: len(rig.health.faults) == rig.partitions, "both partitions wait")
        reasons = " ".join(rig.health.faults.values())
    for partition, offset in done.items():
        assert f"offsets {offset} to {ends[partition] - 1} would be skipped unread" in reasons
    assert len(names(rig.dsn)) == 10


def test_dead_letters_are_durable_before_rows_and_rows_before_offsets(rig: SinkRig) -> None:
    """While the dead-letter topic is missing, neither rows nor offsets of the batch are committed."""
    rig.create(rig.topic, rig.control)
    rig.publish("a", record(employee_number="a"))
    rig.run_to_end()
    committed = rig.committed()
    for number in range(20):
        rig.publish(f"W{number}", record(employee_number=f"W{number}"))
        rig.publish(f"bad{number}", b"\x01")
    with rig.running():
        eventually(lambda: "dead letters to" in " ".join(rig.health.faults), "the missing topic is noticed")
        assert rig.committed() == committed
        assert set(names(rig.dsn)) == {"a"}
        rig.create(rig.dlq)
        eventually(lambda: rig.committed() == rig.ends(), "it goes on by itself")
    assert len(names(rig.dsn)) == 21
    assert {key for key, _, _ in rig.dead_letters()} == {f"bad{number}".encode() for number in range(20)}


def test_a_missing_table_stops_the_sink_which_goes_on_by_itself(rig: SinkRig) -> None:
    _fill(rig, 5)
    with rig.running():
        eventually(lambda: rig.committed() == rig.ends(), "the first rows")
        with psycopg.connect(rig.dsn, autocommit=True) as connection:
            connection.execute("DROP VIEW golden.worker_provenance")
            connection.execute("ALTER TABLE golden.worker ALTER COLUMN height TYPE text")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'sink'")
        rig.publish("later", record(employee_number="later"))
        eventually(lambda: "contract says numeric(10,3)" in " ".join(rig.health.faults.values()), "the fault")
        with psycopg.connect(rig.dsn, autocommit=True) as connection:
            connection.execute("ALTER TABLE golden.worker ALTER COLUMN height TYPE numeric(10,3) USING height::numeric")
        eventually(lambda: "later" in names(rig.dsn), "it goes on")
    assert rig.dead_letters() == []


def test_a_recreated_topic_stops_the_sink_until_the_table_is_rebuilt(rig: SinkRig) -> None:
    _fill(rig, 10)
    rig.publish("W1", None)
    rig.run_to_end()
    rig.recreate_topic()
    for name in ("W0", "W1", "new"):
        rig.publish(name, record(employee_number=name, full_name="again"))
    with rig.running():
        eventually(lambda: "sluice sink rebuild worker" in " ".join(rig.health.faults.values()), "the fault")
    assert len(names(rig.dsn)) == 9
    eventually(lambda: not rig.committed(), "Kafka forgets the offsets of the deleted topic")
    rebuilt = rebuild(rig)
    assert rebuilt[rig.topic]["epoch"] == 2
    assert len(names(rig.dsn)) == 9
    rig.run_to_end()
    assert names(rig.dsn) == {"W0": "again", "W1": "again", "new": "again"}
    assert rows(rig.dsn, "SELECT DISTINCT _topic_epoch FROM golden.worker") == [(2,)]


def test_a_topic_re_created_while_the_sink_runs_is_a_fault_that_says_so(rig: SinkRig) -> None:
    _fill(rig, 10)
    with rig.running():
        eventually(lambda: rig.committed() == rig.ends(), "the first rows")
        rig.recreate_topic()
        eventually(lambda: "re-created" in " ".join(rig.health.faults.values()), "the fault", 60.0)
    assert len(names(rig.dsn)) == 10


@pytest.mark.parametrize("dropped", ["TABLE golden.worker", "SCHEMA golden"])
def test_a_dropped_table_or_schema_stops_the_sink_until_a_rebuild(rig: SinkRig, dropped: str) -> None:
    _fill(rig, 10)
    rig.run_to_end()
    with psycopg.connect(rig.dsn) as connection:
        connection.execute(f"DROP {dropped} CASCADE".encode())
    with rig.running():
        eventually(lambda: "sluice sink rebuild worker" in " ".join(rig.health.faults.values()), "the fault")
    eventually(lambda: not members_of(rig.admin, rig.group), "the group is empty")
    rebuild(rig)
    rig.run_to_end()
    assert len(names(rig.dsn)) == 10


def _insert_ghost(connection: psycopg.Connection[tuple[object, ...]], entity_id: str, rig: SinkRig) -> None:
    """A row as an older record of the entity left it."""
    connection.execute(
        "INSERT INTO golden.worker (entity_id, employee_number, full_name, _revision, _updated_at, _topic_epoch, "
        "_partition, _offset, _provenance) VALUES (%s, %s, 'old', 1, now(), 1, %s, -1, '{}')",
        [entity_id, entity_id, murmur2_partition(entity_id.encode(), rig.partitions)],
    )


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'golden'"


def _back_up(rig: SinkRig) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        connection.execute("SET sluice.writer = 'sink'")  # the sink wrote the rows of the backup
        _insert_ghost(connection, "ghost", rig)  # deleted since, and its tombstone is compacted away
        connection.execute("CREATE SCHEMA backup")
        for (table,) in connection.execute(_TABLES.encode()).fetchall():
            connection.execute(f"CREATE TABLE backup.{table} AS TABLE golden.{table}".encode())
        connection.execute("DELETE FROM golden.worker WHERE entity_id = 'ghost'")


def _restore(rig: SinkRig) -> None:
    """As pg_restore of an older dump leaves the schema."""
    with psycopg.connect(rig.dsn) as connection:
        for (table,) in connection.execute(_TABLES.encode()).fetchall():
            filled = f"INSERT INTO golden.{table} OVERRIDING SYSTEM VALUE TABLE backup.{table}"
            connection.execute(f"TRUNCATE golden.{table}; {filled}".encode())


def test_tables_restored_from_a_backup_are_a_fault_whose_command_makes_them_equal(rig: SinkRig) -> None:
    _fill(rig, 10)
    rig.run_to_end()
    _back_up(rig)
    rig.publish("W1", None)
    rig.publish("W2", record(employee_number="W2", full_name="new"))
    rig.publish("W10", record(employee_number="W10"))
    rig.run_to_end()
    before = names(rig.dsn)
    with rig.running():
        eventually(lambda: not rig.health.faults, "the sink is ready")
        _restore(rig)
        rig.publish("W3", record(employee_number="W3", full_name="newer"))
        eventually(lambda: "restored from a backup" in " ".join(rig.health.faults.values()), "the fault")
        reason = next(why for why in rig.health.faults.values() if "restored" in why)
    assert "stop the sink and run `sluice sink rebuild worker`" in reason
    assert reason.index("sluice sink rebuild") < reason.index("sluice skips accept")
    eventually(lambda: not members_of(rig.admin, rig.group), "the group is empty")
    rebuild(rig)
    rig.run_to_end()
    assert names(rig.dsn) == before | {"W3": "newer"}


def test_after_a_long_absence_a_whole_pass_finds_the_deleted_entities(rig: SinkRig) -> None:
    _fill(rig)
    rig.publish("bad", rig.encode(record(height="99999999999.000")))
    rig.run_to_end()
    with psycopg.connect(rig.dsn, autocommit=True) as connection:
        for ghost in ("ghost", "bad"):  # "bad" was good once: its row is older than the record that is parked
            _insert_ghost(connection, ghost, rig)
        connection.execute("UPDATE golden._owner SET at = now() - interval '16 days'")
    passed = "SELECT count(*) FROM golden._owner WHERE pass_end IS NULL AND at > now() - interval '1 day'"
    with rig.running():
        eventually(lambda: rows(rig.dsn, passed) == [(rig.partitions,)], "both partitions were passed")
    assert set(names(rig.dsn)) == {f"W{number}" for number in range(40)} | {"bad"}
    assert names(rig.dsn)["bad"] == "old"


def test_a_quiet_partition_is_not_taken_for_an_absent_one(rig: SinkRig) -> None:
    _fill(rig, 3)
    rig.run_to_end()
    rig.settings = rig.settings.model_copy(update={"renew_records_after_s": 0.0})
    fresh = "SELECT count(*) FROM golden._owner WHERE at > now() - interval '1 day'"
    with rig.running(), psycopg.connect(rig.dsn, autocommit=True) as connection:
        for _ in range(2):  # the first time may be its start
            connection.execute("UPDATE golden._owner SET at = now() - interval '14 days'")
            eventually(lambda: rows(rig.dsn, fresh) == [(rig.partitions,)], "both partitions are noted as read")
