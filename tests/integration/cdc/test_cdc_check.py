"""`sluice cdc check`: what is missing or unfit is found before a source is followed, with the SQL that repairs it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import conninfo

from support.cdc import Source
from support.cdc_commands import cdc, cdc_text
from support.unfit_sources import UNFIT, UNPUBLISHED

LEAST_RIGHTS = "CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'secret'; GRANT SELECT ON employee TO {role}"


@pytest.fixture
def role(source: Source) -> Iterator[str]:
    name = f"reader_{uuid.uuid4().hex[:8]}"
    yield name
    if source.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
        source.sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def dsn_of(source: Source, role: str) -> str:
    return conninfo.make_conninfo(source.dsn, user=role, password="secret")


def found(source: Source, dsn: str | None = None) -> list[dict[str, Any]]:
    """The findings of source erp. The exit code says whether there is one."""
    code, facts = cdc(source, "check", "erp", dsn=dsn)
    findings: list[dict[str, Any]] = facts["erp"]["findings"]
    assert code == (1 if findings else 0)
    return findings


def test_a_source_that_this_user_may_set_up_itself_has_no_finding(source: Source) -> None:
    assert found(source) == []


def test_a_role_with_the_least_rights_has_no_finding_and_is_followed(source: Source, role: str) -> None:
    source.sql(LEAST_RIGHTS.format(role=role))
    source.sql(f"CREATE PUBLICATION {source.slot.publication} FOR TABLE employee")
    assert found(source, dsn_of(source, role)) == []
    source.sql("INSERT INTO employee VALUES (1, 'Ada')")
    with source.as_user(role, "secret").followed() as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    assert len(source.rows("employee")) == 1


@pytest.mark.parametrize(("sql", "says"), UNFIT.values(), ids=UNFIT.keys())
def test_the_sql_of_each_finding_repairs_what_it_names(source: Source, role: str, sql: str, says: str) -> None:
    publication = source.slot.publication
    source.sql(LEAST_RIGHTS.format(role=role))
    if "{p}" not in sql and not sql.startswith(UNPUBLISHED):
        source.sql(f"CREATE PUBLICATION {publication} FOR TABLE employee")
    source.sql(sql.format(p=publication, role=role))
    findings = found(source, dsn_of(source, role))
    assert [f for f in findings if says in f["why"]], findings
    for finding in findings:
        assert finding["sql"], finding
        assert finding["run_by"] in ("administrator", "table owner")
        source.sql(finding["sql"])
    assert found(source, dsn_of(source, role)) == []


def test_each_bad_table_is_named_and_a_good_one_is_not(tables: Source) -> None:
    tables.sql("ALTER TABLE a DROP CONSTRAINT a_pkey; DROP TABLE b; CREATE VIEW b AS SELECT 1 AS id")
    findings = found(tables)
    assert [(f["where"], f["sql"]) for f in findings] == [
        ("source erp, table public.a", ""),
        ("source erp, table public.b", ""),
    ]
    assert "ADD PRIMARY KEY" in findings[0]["next_step"]


def test_a_partition_is_checked_with_its_table(tables: Source) -> None:
    tables.sql("DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)")
    tables.sql("CREATE TABLE a_1 PARTITION OF a FOR VALUES FROM (0) TO (9)")
    tables.sql("CREATE UNLOGGED TABLE a_2 (LIKE a INCLUDING ALL)")
    tables.sql("ALTER TABLE a ATTACH PARTITION a_2 FOR VALUES FROM (9) TO (99)")
    tables.sql("ALTER TABLE a_1 REPLICA IDENTITY NOTHING")
    findings = found(tables)
    assert {f["where"] for f in findings} == {"source erp, table public.a"}
    for finding in findings:
        tables.sql(finding["sql"])
    assert found(tables) == []


def test_a_slot_of_another_plugin_is_named(source: Source) -> None:
    source.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [source.slot.slot])
    (finding,) = found(source)
    assert source.slot.slot in finding["where"]
    assert "test_decoding" in finding["why"]


def test_a_wrong_password_is_a_finding_that_does_not_quote_it(source: Source) -> None:
    (finding,) = found(source, conninfo.make_conninfo(source.dsn, password="wr0ng-secret"))
    assert "password authentication failed" in finding["why"]
    assert "wr0ng-secret" not in str(finding)


def test_a_server_that_does_not_answer_is_a_finding(source: Source) -> None:
    (finding,) = found(source, conninfo.make_conninfo(source.dsn, port=1))
    assert "could not be checked" in finding["why"]


def test_people_get_each_finding_with_its_statement_on_a_line_of_its_own(source: Source) -> None:
    source.sql("ALTER TABLE employee REPLICA IDENTITY NOTHING")
    done = cdc_text(source, "check")
    assert done.returncode == 1
    assert '    ALTER TABLE ONLY "public"."employee" REPLICA IDENTITY DEFAULT;' in done.stdout.splitlines()
    assert "risk: source erp, max_slot_wal_keep_size: it is -1" in done.stdout


def test_a_source_that_is_not_in_the_pipeline_file_is_refused(source: Source) -> None:
    done = cdc_text(source, "check", "erb")
    assert done.returncode == 2
    assert "there are erp" in done.stderr
