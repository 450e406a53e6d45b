"""Golden tables follow the contract on a real Postgres: columns are added, types stay, the sink resumes by itself."""

from decimal import Decimal
from typing import Annotated

import psycopg
import pytest
from structlog.testing import capture_logs

from sluice.entities import Entity, Identity, Scale
from sluice.errors import EnvironmentFault
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import connect
from sluice.golden.rebuild import Span, prepare_rebuild
from sluice.golden.rows import GoldenReader, connect_to_read
from support.sink import TABLE, TOPIC, rows, store, tombstone, upsert, write


class Before(Entity, name="worker"):
    employee_number: Annotated[str, Identity()]
    full_name: str


class Rescaled(Entity, name="worker"):
    employee_number: Annotated[str, Identity()]
    height: Annotated[Decimal, Scale(12, 4)] | None


def test_a_new_field_becomes_a_column_and_changes_nothing_else(postgres_dsn: str) -> None:
    store(postgres_dsn, GoldenTable("golden", Before.contract())).lease(TOPIC, 0, "id")
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 1)])
    assert rows(postgres_dsn, "SELECT level FROM golden.worker") == [(-5,)]
    assert rows(postgres_dsn, "SELECT value FROM golden.worker_provenance WHERE field = 'level'") == [("-5",)]


def test_the_column_of_a_field_that_left_the_contract_stays(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 1)])
    store(postgres_dsn, GoldenTable("golden", Before.contract())).lease(TOPIC, 0, "id")
    assert rows(postgres_dsn, "SELECT level FROM golden.worker") == [(-5,)]


def test_a_changed_type_stops_the_sink_until_the_named_statement_is_run(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 1)])
    changed = store(postgres_dsn, GoldenTable("golden", Rescaled.contract()))
    with pytest.raises(EnvironmentFault, match=r"numeric\(10,3\), and the contract says numeric\(12,4\)") as fault:
        changed.lease(TOPIC, 0, "id")
    statements = fault.value.next_step.removeprefix("run: ").rsplit(";", 1)[0]
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(statements)
    changed.lease(TOPIC, 0, "id")
    assert rows(postgres_dsn, "SELECT height::text FROM golden.worker") == [("1.7000",)]


def test_a_column_that_is_missing_is_added_by_a_start_of_the_sink_as_the_error_says(postgres_dsn: str) -> None:
    store(postgres_dsn, GoldenTable("golden", Before.contract())).lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO golden.worker VALUES ('W-0', 'W-0', 'Ada', 1, now(), 1, 0, 0, "
            """'{"contributors": [], "winners": []}')"""
        )
    with connect_to_read(postgres_dsn, "sink warehouse") as reading:
        reader = GoldenReader(reading, TABLE)
        with pytest.raises(EnvironmentFault, match=r"does not exist \(42703\)") as fault:
            reader.row("W-0")
        assert fault.value.next_step.startswith("restart sink-postgres: at its start it adds the columns")
        store(postgres_dsn).lease(TOPIC, 0, "id")
        row = reader.row("W-0")
    assert row is not None
    assert row.fields["level"] is None, "it is null in a row written before"


def test_a_column_dropped_while_the_sink_runs_is_added_again(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W", 1)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP VIEW golden.worker_provenance; ALTER TABLE golden.worker DROP COLUMN level")
    with pytest.raises(EnvironmentFault, match="restart sink-postgres"):
        write(sink, lease, [upsert("V", 2)])
    sink.rollback()
    with capture_logs() as logs:
        write(sink, lease, [upsert("V", 2)])
    (line,) = [one for one in logs if one["event"] == "columns added"]
    assert (line["table"], line["columns"]) == ("golden.worker", ["level"])
    assert "`sluice sink rebuild worker`" in line["next"]
    assert rows(postgres_dsn, "SELECT entity_id, level FROM golden.worker ORDER BY 1") == [("V", -5), ("W", None)]


OLD_NAME = (
    "ALTER TABLE golden._tombstones RENAME TO _graves; ALTER INDEX golden._tombstones_pkey RENAME TO _graves_pkey"
)


def test_tombstones_of_an_older_version_keep_deleted_rows_deleted(postgres_dsn: str) -> None:
    """Their table had another name. If an older sink runs once more, it creates that table again; it is merged."""
    sink = store(postgres_dsn)
    write(sink, sink.lease(TOPIC, 0, "id"), [upsert("W", 1), tombstone("W", 5), tombstone("V", 6)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(OLD_NAME)
    newer = store(postgres_dsn)
    write(newer, newer.lease(TOPIC, 0, "id"), [upsert("W", 4), upsert("V", 5)])
    assert rows(postgres_dsn, "SELECT entity_id FROM golden.worker") == []
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE golden._graves (LIKE golden._tombstones INCLUDING ALL)")
        connection.execute(
            "INSERT INTO golden._graves VALUES ('worker', 'W', 1, 0, 9, now()), ('worker', 'V', 1, 0, 2, now())"
        )
    newest = store(postgres_dsn)
    write(newest, newest.lease(TOPIC, 0, "id"), [upsert("W", 8)])
    assert rows(postgres_dsn, "SELECT entity_id FROM golden.worker") == []
    kept = 'SELECT entity_id, "offset" FROM golden._tombstones ORDER BY 1'
    assert rows(postgres_dsn, kept) == [("V", 6), ("W", 9)]
    assert rows(postgres_dsn, "SELECT to_regclass('golden._graves')") == [(None,)]


def test_columns_added_to_an_empty_table_are_not_logged(postgres_dsn: str) -> None:
    store(postgres_dsn, GoldenTable("golden", Before.contract())).lease(TOPIC, 0, "id")
    with capture_logs() as logs:
        store(postgres_dsn).lease(TOPIC, 0, "id")
    assert [one for one in logs if one["event"] == "columns added"] == []


def test_a_dropped_table_is_not_re_created_empty_but_a_fault_until_a_rebuild_fills_it(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    lease = sink.lease(TOPIC, 0, "id")
    write(sink, lease, [upsert("W", 1)])
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TABLE golden.worker CASCADE")
    with pytest.raises(EnvironmentFault, match="does not exist"):
        write(sink, lease, [upsert("V", 2)])
    for _ in range(2):
        sink.rollback()
        with pytest.raises(EnvironmentFault, match="processed") as fault:
            write(sink, lease, [upsert("V", 2)])
        assert fault.value.next_step == "stop the sink and run `sluice sink rebuild worker`"
    sink.rollback()
    with connect(postgres_dsn, "sink test") as connection:
        prepare_rebuild(connection, TABLE, TOPIC, "id", {0: Span(0, 3)})
    again = store(postgres_dsn)
    both = [upsert("W", 1, epoch=2), upsert("V", 2, epoch=2)]
    write(again, again.lease(TOPIC, 0, "id"), both, [(0, "W"), (0, "V")])
    assert rows(postgres_dsn, "SELECT entity_id FROM golden.worker ORDER BY 1") == [("V",), ("W",)]


def test_a_table_that_was_never_filled_is_re_created(postgres_dsn: str) -> None:
    store(postgres_dsn).lease(TOPIC, 0, "id")
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("DROP TABLE golden.worker CASCADE")
    store(postgres_dsn).lease(TOPIC, 0, "id")
    assert rows(postgres_dsn, "SELECT entity_id FROM golden.worker") == []


def test_a_reader_may_pause_between_two_fetches_and_a_writer_may_not(postgres_dsn: str) -> None:
    query = "SHOW idle_in_transaction_session_timeout"
    with connect(postgres_dsn, "sink test") as writing, connect_to_read(postgres_dsn, "sink test") as reading:
        assert writing.execute(query).fetchone() == ("30s",)
        assert reading.execute(query).fetchone() == ("10min",)
