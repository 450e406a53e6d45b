"""A table that cannot be followed waits alone, its application can write, and its fault names the fix."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.cdc import Source
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal, rows_published


@contextmanager
def role(source: Source, *grants: str) -> Iterator[Source]:
    """The source followed as a new role that may replicate; `grants` are statements for `{role}`."""
    name = f"reader_{uuid.uuid4().hex[:8]}"
    source.sql(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret'")
    for grant in grants:
        source.sql(grant.format(role=name))
    try:
        yield source.as_user(name, "secret")
    finally:
        source.sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


INELIGIBLE = {
    "a primary key that is deferrable": (
        "ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
        "DEFERRABLE",
        "ALTER TABLE a REPLICA IDENTITY FULL",
    ),
    "full identity with a generated column": (
        "ALTER TABLE a ADD g int GENERATED ALWAYS AS (n * 2) STORED; ALTER TABLE a REPLICA IDENTITY FULL",
        "g, which is not published",
        "ALTER TABLE a REPLICA IDENTITY DEFAULT",
    ),
    "identity nothing": (
        "ALTER TABLE a REPLICA IDENTITY NOTHING",
        "NOTHING",
        "ALTER TABLE a REPLICA IDENTITY DEFAULT",
    ),
    "a partition without identity": (
        "DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);"
        " CREATE TABLE a_1 PARTITION OF a DEFAULT; ALTER TABLE a_1 REPLICA IDENTITY NOTHING;"
        " INSERT INTO a VALUES (1, 1)",
        "public.a_1 is published",
        "ALTER TABLE a_1 REPLICA IDENTITY DEFAULT",
    ),
    "no primary key": ("ALTER TABLE a DROP CONSTRAINT a_pkey", "no primary key", "ALTER TABLE a ADD PRIMARY KEY (id)"),
}


@pytest.mark.parametrize(("spoil", "says", "fix"), INELIGIBLE.values(), ids=INELIGIBLE.keys())
def test_a_table_is_checked_before_it_is_published_so_that_its_application_can_write(
    tables: Source, spoil: str, says: str, fix: str
) -> None:
    tables.sql(spoil)
    with tables.followed() as running:
        assert "table public.a is pending" in running.await_fault(says)
        tables.sql("UPDATE a SET n = 2; INSERT INTO b VALUES (2, 2)")
        await_equal(tables, "b")
        assert rows_published(tables, "a") == {}
        tables.sql(fix)
        running.await_no_fault()
        tables.sql("UPDATE a SET n = n + 1")
        await_equal(tables, "a", "b")
    tables.sql("UPDATE a SET n = n + 1; DELETE FROM a")


def test_a_table_that_may_not_be_read_waits_alone_and_is_read_once_it_may(tables: Source) -> None:
    tables.sql(f"CREATE PUBLICATION {tables.slot.publication} FOR TABLE a, b WITH (publish_via_partition_root)")
    with role(tables, "GRANT SELECT ON b TO {role}") as ours, ours.followed() as running:
        fault = running.await_fault("permission denied for table a")
        assert "table public.a is pending" in fault
        await_equal(tables, "b")
        tables.sql(f"GRANT SELECT ON a TO {ours.slot.dsn.reveal().split('user=')[1].split()[0]}")
        resnapshot(tables, "--table", "public.a")  # instead of waiting for the next attempt
        running.await_no_fault()
        await_equal(tables, "a", "b")


def test_rows_that_row_security_hides_are_never_mistaken_for_deleted_ones(tables: Source) -> None:
    """The stream contains every row, a snapshot only the rows that a policy shows."""
    tables.sql("INSERT INTO a SELECT g, g FROM generate_series(2, 10) g")
    tables.sql(f"CREATE PUBLICATION {tables.slot.publication} FOR TABLE a, b WITH (publish_via_partition_root)")
    with role(tables, "GRANT SELECT ON a, b TO {role}") as ours, ours.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")
        tables.sql("ALTER TABLE a ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON a USING (id <= 3)")
        resnapshot(tables, "--table", "public.a")
        fault = running.await_fault("row-level security policy")
        assert "table public.a" in fault
        assert len(rows_published(tables, "a")) == 10, "nothing was retracted"
        tables.sql("ALTER TABLE a DISABLE ROW LEVEL SECURITY")
        resnapshot(tables, "--table", "public.a")
        running.await_no_fault()
        await_equal(tables, "a", "b")


SETTINGS = [
    "SET default_transaction_read_only = on",
    "SET default_transaction_isolation = 'serializable'",
    "SET statement_timeout = 1",
    "SET lock_timeout = 1",
    "SET idle_in_transaction_session_timeout = 1",
    "SET transaction_timeout = 300",
    "SET search_path = 'nowhere'",
    "SET datestyle = 'SQL, DMY'",
    "SET intervalstyle = 'iso_8601'",
    "SET timezone = 'Asia/Tokyo'",
    "SET extra_float_digits = -15",
    "SET bytea_output = 'escape'",
    "SET lc_monetary = 'C.UTF-8'",
    "SET client_encoding = 'LATIN1'",
    "SET quote_all_identifiers = on",
    "SET standard_conforming_strings = off",
]


def test_the_settings_of_a_role_do_not_change_what_is_read(tables: Source) -> None:
    columns = "d date, i interval, t timestamptz, f float, y bytea, m money, r regclass"
    tables.sql(f"ALTER TABLE a {', '.join('ADD ' + c for c in columns.split(', '))}")
    values = "'2026-03-04', '1 mon 2 days', '2026-03-04 05:06:07+00', 0.1::float / 3, '\\xff00', 12.5, 'public.b'"
    tables.sql(f"INSERT INTO a VALUES (2, 2, {values}), (3, 3, {values})")
    with role(tables, "GRANT SELECT ON a, b TO {role}") as ours:
        tables.sql(f"CREATE PUBLICATION {tables.slot.publication} FOR TABLE a, b WITH (publish_via_partition_root)")
        name = ours.slot.dsn.reveal().split("user=")[1].split()[0]
        for setting in SETTINGS:
            tables.sql(f"ALTER ROLE {name} {setting}")
        with ours.followed() as running:
            running.await_no_fault()
            tables.sql(f"INSERT INTO a VALUES (4, 4, {values})")
            await_equal(tables, "a", "b")
    rows = {row.pop("id"): row for row in rows_published(tables, "a").values()}
    snapshot, streamed = ({k: v for k, v in rows[number].items() if k != "n"} for number in (2, 4))
    assert snapshot == streamed
