"""Golden tables follow the contract on a real Postgres: columns come, types stay, and the sink resumes by itself."""

from decimal import Decimal
from typing import Annotated

import psycopg
import pytest

from sluice.entities import Entity, Identity, Scale
from sluice.errors import EnvironmentFault
from sluice.postgres.golden_columns import GoldenTable
from support.sink import TOPIC, rows, store, upsert, write


class Before(Entity, name="worker"):
    employee_number: Annotated[str, Identity()]
    full_name: str


class Rescaled(Entity, name="worker"):
    employee_number: Annotated[str, Identity()]
    height: Annotated[Decimal, Scale(12, 4)] | None


def test_a_new_field_becomes_a_column_and_kills_nothing(postgres_dsn: str) -> None:
    store(postgres_dsn, GoldenTable("golden", Before.contract())).claim(TOPIC, 0, "id")
    sink = store(postgres_dsn)
    write(sink, sink.claim(TOPIC, 0, "id"), [upsert("W", 1)])
    assert rows(postgres_dsn, "SELECT level FROM golden.worker") == [(-5,)]
    assert rows(postgres_dsn, "SELECT value FROM golden.worker_provenance WHERE field = 'level'") == [("-5",)]


def test_a_field_that_left_the_contract_leaves_its_column(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.claim(TOPIC, 0, "id"), [upsert("W", 1)])
    store(postgres_dsn, GoldenTable("golden", Before.contract())).claim(TOPIC, 0, "id")
    assert rows(postgres_dsn, "SELECT level FROM golden.worker") == [(-5,)]


def test_a_changed_type_stops_the_sink_and_the_named_statement_mends_it(postgres_dsn: str) -> None:
    sink = store(postgres_dsn)
    write(sink, sink.claim(TOPIC, 0, "id"), [upsert("W", 1)])
    changed = store(postgres_dsn, GoldenTable("golden", Rescaled.contract()))
    with pytest.raises(EnvironmentFault, match=r"numeric\(10,3\), and the contract says numeric\(12,4\)") as fault:
        changed.claim(TOPIC, 0, "id")
    statements = fault.value.next_step.removeprefix("run: ").rsplit(";", 1)[0]
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(statements)
    changed.claim(TOPIC, 0, "id")
    assert rows(postgres_dsn, "SELECT height::text FROM golden.worker") == [("1.7000",)]
