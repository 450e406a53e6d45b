"""What Postgres users do to tables that are followed. Each time, within seconds: the records amount to the table, or a
fault names the table and the command that makes it so. All tables are followed at once, by one process: what happens
to one concerns no other.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sluice.cli.cdc import Resnapshots
from sluice.embedded import Servers
from sluice.postgres.slot_watermark import FOLLOWED
from support.cdc import SOURCE, Running, Source, make_source
from support.postgres_deeds import DEEDS, Deed, Outcome, table_of
from support.raw_rows import rows_published, rows_stored
from support.waiting import eventually

BYSTANDER = "bystander"
CASES = [(table_of(number), deed) for number, deed in enumerate(DEEDS)]


@pytest.fixture(scope="module")
def source(servers: Servers) -> Iterator[Source]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    servers.create_database(name)
    tables = [table for table, _ in CASES]
    with tempfile.TemporaryDirectory() as folder:
        dsn = servers.postgres_dsn(name)
        made = make_source(dsn, servers.bootstrap_servers, f"{name}.", Path(folder), [*tables, BYSTANDER])
        made.sql(f"CREATE TABLE {BYSTANDER} (id serial PRIMARY KEY)")
        for table, deed in CASES:
            do(made, table, deed.setup)
        yield made
    servers.drop_database(name)


@pytest.fixture(scope="module")
def running(source: Source) -> Iterator[Running]:
    with source.followed() as follower:
        follower.whole()
        yield follower


def do(source: Source, table: str, statements: str) -> None:
    """Each statement by itself, as an application's connection would send them."""
    # Braces of array texts are doubled in the cases.
    text = statements.format(t=table, publication=source.slot.publication)
    with psycopg.connect(source.dsn, autocommit=True) as connection:
        for statement in (text,) if "$$" in text else text.split(";"):
            if statement.strip():
                connection.execute(statement.encode())


def is_equal(source: Source, table: str) -> bool:
    return rows_published(source, table) == rows_stored(source, table)


def reached(source: Source, lsn: int) -> None:
    def published() -> bool:
        watermark = source.watermark()
        return watermark is not None and watermark.lsn >= lsn

    eventually(published, f"everything below {lsn} is published")


@pytest.mark.parametrize(("table", "deed"), CASES, ids=[deed.what for deed in DEEDS])
def test_the_records_amount_to_the_table_or_a_fault_names_what_makes_them(
    source: Source, running: Running, table: str, deed: Deed
) -> None:
    do(source, table, deed.sql)
    if deed.outcome is not Outcome.EQUAL:
        fault = running.faulty(f"table public.{table} is {'held' if deed.outcome is Outcome.HELD else 'followed'}")
        assert deed.says.format(t=table) in fault
        assert f"`sluice cdc resnapshot {SOURCE} --table public.{table}`" in fault
    do(source, table, deed.writes)
    source.sql(f"INSERT INTO {BYSTANDER} DEFAULT VALUES")
    reached(source, source.wal_lsn())
    assert is_equal(source, BYSTANDER), "other tables go on"
    if deed.outcome is not Outcome.EQUAL:
        do(source, table, deed.mend)
        Resnapshots(source.kafka, source.pipeline.names, SOURCE).tables([f"public.{table}"])
    eventually(
        lambda: is_followed(source, running, table),
        f"{table} is followed without a fault",
        state=lambda: str(running.health.faults),
    )
    reached(source, source.wal_lsn())
    assert rows_published(source, table) == rows_stored(source, table)


def is_followed(source: Source, running: Running, table: str) -> bool:
    if running.died is not None:
        raise running.died
    mark = source.mark(table)
    return mark.state == FOLLOWED and not mark.why
