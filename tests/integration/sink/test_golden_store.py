"""The golden store on a real Postgres: guard, tombstones, owner rows, rejected rows, progress, provenance."""

import threading
from typing import Any

import psycopg
import pytest

from sluice.errors import EnvironmentFault, Transient
from sluice.golden import passes
from sluice.golden.connection import connect
from sluice.golden.lease import OwnerChanged
from sluice.golden.store import GoldenStore
from sluice.golden.writer import TableWriter
from support.pace import within
from support.sink import TABLE, TOPIC, names, rows, store, tombstone, upsert, write
from support.waiting import eventually


def test_a_row_has_its_fields_and_its_origin(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    assert write(sink, lease, [upsert("W", 5)]).effective[0] == 1
    found = rows(
        postgres_dsn,
        "SELECT full_name, base_pay_amount::text, base_pay_currency, height::text, birthday::text, hired_at, rating, "
        "badge, level, remote, _topic_epoch, _partition, _offset FROM golden.worker",
    )
    (row,) = found
    assert row[:5] == ("Zoë", "-12.3000", "EUR", "1.700", "1969-12-31")
    assert row[5].isoformat() == "2024-01-01T00:00:00.000001+00:00"
    assert row[6:] == (1.5, b"\x00\x01", -5, True, 1, 0, 5)


def test_every_field_can_say_where_it_came_from_in_sql(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 5, remote=None)])
    view = {row[1]: row for row in rows(postgres_dsn, "SELECT * FROM golden.worker_provenance")}
    assert len(view) == len(TABLE.contract.fields)
    entity_id, field, value, *origin = view["base_pay"]
    assert (entity_id, field, value) == ("W", "base_pay", "-12.3000 EUR")
    assert origin[:6] == ["workday", "workers", '{"id":"W-7"}', "raw.workday.workers", 2, 123456]
    assert origin[6].isoformat() == "2024-01-01T00:00:00+00:00"
    assert origin[7:] == ["worker", 3, "source_order"]
    assert view["remote"][2] is None


def test_the_guard_takes_the_same_or_newer_and_refuses_older(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W", 10, full_name="ten")])
    assert write(sink, lease, [upsert("W", 9, full_name="nine")]).effective.total() == 0
    assert names(postgres_dsn) == {"W": "ten"}
    assert write(sink, lease, [upsert("W", 10, full_name="ten again")]).effective.total() == 1
    assert write(sink, lease, [upsert("W", 11, full_name="eleven")]).effective.total() == 1
    assert names(postgres_dsn) == {"W": "eleven"}


def test_a_deleted_row_stays_deleted_when_older_records_come_again(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W", 1), upsert("V", 2)])
    write(sink, lease, [tombstone("W", 3)])
    assert names(postgres_dsn) == {"V": "Zoë"}
    write(sink, lease, [upsert("W", 1)])
    assert names(postgres_dsn) == {"V": "Zoë"}
    write(sink, lease, [upsert("W", 4, full_name="hired again")])
    assert names(postgres_dsn)["W"] == "hired again"
    write(sink, lease, [tombstone("W", 3)])
    assert names(postgres_dsn)["W"] == "hired again"


def test_a_tombstone_is_written_for_an_entity_that_never_had_a_row(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [tombstone("W", 3)])
    write(sink, lease, [upsert("W", 2)])
    assert names(postgres_dsn) == {}


def test_a_key_twice_in_a_batch_is_written_once_at_its_newest(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    written = write(
        sink,
        sink.lease(TOPIC, 0, "id"),
        [upsert("W", 1, full_name="a"), upsert("W", 2, full_name="b"), upsert("V", 3), tombstone("V", 4)],
    )
    assert written.effective[0] == 2
    assert names(postgres_dsn) == {"W": "b"}


@pytest.mark.parametrize(
    "culprit", [{"height": "99999999999.000"}, {"base_pay": {"amount": "1.0000", "currency": "EURO"}}]
)
def test_only_the_culprit_of_a_refused_batch_is_rejected(postgres_dsn: str, culprit: dict[str, Any]) -> None:
    sink = store(postgres_dsn)
    batch = [upsert(f"W{n}", n) for n in range(50)] + [tombstone("W7", 60), upsert("bad", 61, **culprit)]
    written = write(sink, sink.lease(TOPIC, 0, "id"), batch)
    assert [one.change.entity_id for one in written.rejected] == ["bad"]
    assert written.rejected[0].error.code == "refused-by-postgres"
    assert "99999999999" not in str(written.rejected[0].error)
    assert len(names(postgres_dsn)) == 49


def test_after_a_rejected_change_the_one_before_it_in_the_batch_is_written(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    batch = [upsert("W", 1, full_name="good"), upsert("W", 2, height="99999999999.000"), upsert("V", 3)]
    written = write(sink, sink.lease(TOPIC, 0, "id"), batch)
    assert [one.change.offset for one in written.rejected] == [2]
    assert names(postgres_dsn) == {"W": "good", "V": "Zoë"}


def test_an_entity_under_two_partitions_of_one_epoch_is_an_error(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 5)])
    lease = sink.lease(TOPIC, 1, "id")
    with pytest.raises(EnvironmentFault, match="one entity lives in one partition"):
        write(sink, lease, [upsert("W", 9, partition=1)])
    sink.rollback()
    assert rows(postgres_dsn, "SELECT _partition, _offset FROM golden.worker") == [(0, 5)]


def test_a_stalled_writer_with_an_old_owner_number_writes_nothing(postgres_dsn: str) -> None:
    stalled, now = store(postgres_dsn), store(postgres_dsn)
    old = stalled.lease(TOPIC, 0, "id")
    new = now.lease(TOPIC, 0, "id")
    assert new.owner_no == old.owner_no + 1
    write(now, new, [tombstone("W", 7)])
    with pytest.raises(OwnerChanged):
        write(stalled, old, [upsert("W", 8)])
    stalled.rollback()
    assert names(postgres_dsn) == {}
    assert now.lease(TOPIC, 0, "id").processed == 8


def test_a_lease_waits_for_the_batch_that_is_being_written(postgres_dsn: str) -> None:
    """The new owner reads what was processed only after the old one's last batch is decided."""
    old, new = store(postgres_dsn), store(postgres_dsn)
    lease = old.lease(TOPIC, 0, "id")
    new.lease(TOPIC, 1, "id")
    at = (TOPIC, 0)
    old.write({at: lease}, {TOPIC: [upsert("W", 1)]}, {})
    waiting = threading.Thread(target=new.lease, args=(TOPIC, 0, "id"))
    waiting.start()
    _until_a_session_waits_for_a_lock(postgres_dsn)
    assert waiting.is_alive()
    old.commit()
    waiting.join(within(30))
    assert not waiting.is_alive()


def _until_a_session_waits_for_a_lock(dsn: str, waiting: int = 1) -> None:
    question = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    eventually(lambda: rows(dsn, question)[0][0] >= waiting, "a session waits for a lock")


def test_batches_that_write_the_same_rows_at_once_do_not_deadlock(postgres_dsn: str) -> None:
    """Two batches in opposite orders meet at a row in the middle, which a third session locks until both wait.

    Without owner rows and offsets: the order of the locks alone must prevent a deadlock.
    """
    keys = [f"W{number:03}" for number in range(101)]
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert(key, 1) for key in keys])
    failures: list[BaseException] = []

    def run(batch: list[str]) -> None:
        try:
            with connect(postgres_dsn, "test") as connection:
                # Plans that sort or hash by chance would hide a statement that does not sort.
                connection.execute("SET enable_mergejoin = off; SET enable_hashjoin = off")
                connection.commit()
                writer = TableWriter(connection, TABLE)
                writer.prepare()
                with connection.transaction():
                    writer.write(upsert(key, 2) for key in batch)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(batch,)) for batch in (keys, keys[::-1])]
    with psycopg.connect(postgres_dsn) as middle:
        middle.execute("SELECT FROM golden.worker WHERE entity_id = %s FOR UPDATE", [keys[50]])
        for thread in threads:
            thread.start()
        _until_a_session_waits_for_a_lock(postgres_dsn, waiting=2)
    for thread in threads:
        thread.join(within(60))
    assert failures == []
    assert rows(postgres_dsn, "SELECT DISTINCT _offset FROM golden.worker") == [(2,)]


def test_progress_and_ledger_are_written_in_the_transaction_of_the_rows(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    assert lease.processed is None
    write(sink, lease, [upsert("W", 41)])
    at = (TOPIC, 0)
    sink.write({at: lease}, {TOPIC: [upsert("V", 42)]}, {})
    sink.rollback()
    assert names(postgres_dsn) == {"W": "Zoë"}
    assert sink.lease(TOPIC, 0, "id").processed == 42
    assert rows(postgres_dsn, "SELECT count(*) FROM golden._ledger") == [(1,)]


def test_an_unknown_topic_id_stops_the_sink_and_names_the_rebuild(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 5)])
    with pytest.raises(EnvironmentFault, match="sluice sink rebuild worker"):
        sink.lease(TOPIC, 0, "another id")


def test_rows_without_a_known_topic_stop_the_sink(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 5)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DELETE FROM golden._topics")
    with pytest.raises(EnvironmentFault, match="was filled from another topic"):
        sink.lease(TOPIC, 0, "id")


def test_a_missing_table_is_a_fault_and_no_dead_letter_and_is_created_again(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TABLE golden.worker CASCADE")
    with pytest.raises(EnvironmentFault, match=r"golden\.worker"):
        write(sink, lease, [upsert("W", 5)])
    sink.rollback()
    write(sink, lease, [upsert("W", 5)])
    assert names(postgres_dsn) == {"W": "Zoë"}


def test_a_missing_privilege_is_a_fault_that_says_what_to_grant(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 5)])
    user = f"u{abs(hash(postgres_dsn)):x}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'hush'")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(postgres_dsn) | {"user": user, "password": "hush"}
        with pytest.raises(EnvironmentFault, match="grant") as fault:
            store(psycopg.conninfo.make_conninfo("", **parts)).lease(TOPIC, 0, "id")
        assert "hush" not in str(fault.value)
    finally:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            connection.execute(f"DROP ROLE {user}")


def test_a_server_that_is_not_there_is_a_fault_without_the_password() -> None:
    with pytest.raises(EnvironmentFault, match="cannot connect") as fault:
        store("postgresql://me:hush@127.0.0.1:1/db").lease(TOPIC, 0, "id")
    assert "hush" not in str(fault.value)


def test_a_connection_that_was_cut_is_opened_again(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'sink'")
    with pytest.raises(Transient):
        write(sink, lease, [upsert("W", 5)])
    sink.rollback()
    write(sink, lease, [upsert("W", 5)])
    assert names(postgres_dsn) == {"W": "Zoë"}


def test_a_locked_table_is_waited_for_once(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once more under savepoints, which would double the time in which the stage does nothing."""
    monkeypatch.setattr("sluice.golden.connection._OPTIONS", {"lock_timeout": "300ms", "sluice.writer": "sink"})
    monkeypatch.delattr(TableWriter, "write")
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as other:
        other.execute("LOCK TABLE golden.worker IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Transient, match=r"table golden\.worker: writing the row of partition 0, offset 5.*55P03"):
            write(sink, lease, [upsert("W", 5)])
    sink.rollback()
    write(sink, lease, [upsert("W", 5)])
    assert names(postgres_dsn) == {"W": "Zoë"}


def test_a_pass_from_the_first_offset_deletes_the_rows_whose_record_it_did_not_read(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("missed", 1), upsert("stays", 2), upsert("parked", 3)])
    write(sink, sink.lease(TOPIC, 1, "id"), [upsert("elsewhere", 1, partition=1)])
    passing = sink.set_pass(lease, 2, 10)
    write(sink, passing, [upsert("stays", 8)], read_ids=[(0, "stays"), (0, "parked")])
    assert set(names(postgres_dsn)) == {"missed", "stays", "parked", "elsewhere"}
    write(sink, passing, [upsert("new", 11)], read_ids=[(0, "new")])
    assert set(names(postgres_dsn)) == {"stays", "parked", "new", "elsewhere"}
    assert sink.lease(TOPIC, 0, "id").pass_end is None
    assert rows(postgres_dsn, "SELECT * FROM golden._seen") == []


def test_the_delete_at_the_end_of_a_pass_has_a_time_out_that_names_it(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "DELETE_TIMEOUT_S", 1)
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("missed", 1), upsert("stays", 2)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "CREATE FUNCTION golden.sleep() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN PERFORM pg_sleep(5); RETURN OLD; END';"
            "CREATE TRIGGER slow BEFORE DELETE ON golden.worker FOR EACH ROW EXECUTE FUNCTION golden.sleep()"
        )
    passing = sink.set_pass(lease, 2, 10)
    with pytest.raises(Transient, match=r"table golden\.worker: deleting the rows that partition 0 lacks: .*57014"):
        write(sink, passing, [upsert("stays", 12)], read_ids=[(0, "stays")])
    sink.rollback()
    assert set(names(postgres_dsn)) == {"missed", "stays"}


def test_a_pass_survives_a_restart(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("missed", 1), upsert("stays", 2)])
    write(sink, sink.set_pass(lease, 2, 10), [upsert("stays", 3)], read_ids=[(0, "stays")])
    sink.rollback()
    lease = sink.lease(TOPIC, 0, "id")
    assert (lease.pass_from, lease.pass_end) == (2, 10)
    write(sink, lease, [upsert("new", 12)], read_ids=[(0, "new")])
    assert set(names(postgres_dsn)) == {"stays", "new"}


def test_a_pass_whose_last_batch_is_written_again_deletes_nothing_more(postgres_dsn: str) -> None:
    """The answer to its commit was lost, or an error gave up the batch in flight, which then became durable."""
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("missed", 1), upsert("stays", 2)])
    passing = sink.set_pass(lease, 2, 10)
    write(sink, passing, [upsert("stays", 2)], read_ids=[(0, "stays")])
    for _ in range(2):
        write(sink, passing, [upsert("new", 12)], read_ids=[(0, "new")])
        assert set(names(postgres_dsn)) == {"stays", "new"}
        assert rows(postgres_dsn, "SELECT * FROM golden._seen") == []


def test_a_pass_that_was_given_up_keeps_no_row_in_the_next_pass(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("deleted meanwhile", 1), upsert("stays", 2)])
    write(sink, sink.set_pass(lease, 1, 10), [upsert("stays", 2)], read_ids=[(0, "deleted meanwhile"), (0, "stays")])
    sink.set_pass(lease, None, None)
    write(sink, sink.set_pass(lease, 2, 10), [upsert("stays", 12)], read_ids=[(0, "stays")])
    assert set(names(postgres_dsn)) == {"stays"}


def test_two_sinks_that_start_at_once_create_the_tables_once(postgres_dsn: str) -> None:
    failures: list[BaseException] = []

    def start(sink: GoldenStore, partition: int) -> None:
        try:
            sink.lease(TOPIC, partition, "id")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(store(postgres_dsn), n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(within(60))
    assert failures == []
    assert rows(postgres_dsn, "SELECT count(*) FROM golden._owner") == [(4,)]
