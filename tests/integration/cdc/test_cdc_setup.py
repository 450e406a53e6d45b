"""`sluice cdc setup`: does what its own role may do, and prints the rest as SQL for an administrator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from psycopg import conninfo

from support.cdc import Source
from support.cdc_commands import cdc, cdc_text


@pytest.fixture
def role(source: Source) -> Iterator[str]:
    name = f"reader_{uuid.uuid4().hex[:8]}"
    source.sql(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'secret'; GRANT SELECT ON employee TO {name}")
    yield name
    source.sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def published(source: Source) -> list[tuple[str, ...]]:
    return source.sql("SELECT pubname, tablename FROM pg_publication_tables ORDER BY 2")


def test_setup_creates_the_publication_and_a_second_run_changes_nothing(source: Source) -> None:
    code, facts = cdc(source, "setup")
    assert (code, len(facts["erp"]["ran"])) == (0, 1)
    assert published(source) == [(source.slot.publication, "employee")]
    assert cdc(source, "setup") == (0, {"erp": {"ran": [], "findings": []}})


def test_a_dry_run_prints_the_statement_and_runs_none(source: Source) -> None:
    done = cdc_text(source, "setup", "--dry-run")
    assert "would run: CREATE PUBLICATION" in done.stdout
    assert published(source) == []


def test_setup_creates_a_signal_table_and_publishes_it(source: Source) -> None:
    assert cdc(source, "setup", "--signal-table", "public.signals")[0] == 0
    assert [table for _, table in published(source)] == ["employee", "signals"]
    assert cdc(source, "setup", "--signal-table", "public.signals")[0] == 0


def test_a_table_that_cannot_be_followed_is_not_published(tables: Source) -> None:
    tables.sql("ALTER TABLE a REPLICA IDENTITY NOTHING")
    code, facts = cdc(tables, "setup")
    assert code == 1
    assert published(tables) == [(tables.slot.publication, "b")]
    tables.sql("UPDATE a SET n = 2")
    assert {f["where"] for f in facts["erp"]["findings"]} >= {"source erp, table public.a"}


def test_what_the_role_may_not_do_is_printed_for_an_administrator(source: Source, role: str) -> None:
    dsn = conninfo.make_conninfo(source.dsn, user=role, password="secret")
    code, facts = cdc(source, "setup", dsn=dsn)
    assert (code, facts["erp"]["ran"]) == (1, [])
    (finding,) = facts["erp"]["findings"]
    assert finding["run_by"] == "administrator"
    source.sql(finding["sql"])
    assert cdc(source, "setup", dsn=dsn) == (0, {"erp": {"ran": [], "findings": []}})
