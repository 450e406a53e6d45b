"""Golden tables from contracts: columns, rows, and the statements that are missing, or refused."""

from types import SimpleNamespace
from typing import cast

import pytest
from psycopg import sql

from sluice.errors import EnvironmentFault, SettingsError
from sluice.golden.catalogue import SchemaState, TableInfo
from sluice.golden.columns import TableColumn
from sluice.golden.sinks import golden_tables
from sluice.golden.tables import own_plan, table_plan
from sluice.golden.writer import newest
from sluice.pipeline import Pipeline, PostgresSink
from support.canonical import record
from support.sink import TABLE, tombstone, upsert

EXISTING = {column.name: column.sql_type for column in TABLE.columns}
OWN = {name: {"topic": "text"} for name in ("_topics", "_owner", "_tombstones", "_seen", "_ledger")}
OWN["_owner"] |= {"paused_at": "double precision"}


def _statements(columns: dict[str, dict[str, str]], views: dict[str, str] | None = None) -> list[str]:
    """What is missing in a schema of these tables (types by column) and views."""
    tables = {
        name: TableInfo(1, dict(enumerate(types.items(), 1)), frozenset(), "A", keyed=True)
        for name, types in columns.items()
    }
    state = SchemaState(tables, views or {})
    return [_bare(one.as_string(None)) for one in own_plan("golden", state) + table_plan(TABLE, state)]


def _bare(statement: str) -> str:
    """Without its comment."""
    return "\n".join(line for line in statement.splitlines() if not line.startswith("--"))


def test_a_table_with_the_name_of_another_tables_view_is_refused() -> None:
    names = SimpleNamespace(canonical=lambda name: f"canonical.{name}")
    pipeline, sink = cast(Pipeline, SimpleNamespace(names=names)), cast(PostgresSink, SimpleNamespace(schema_="golden"))
    assert golden_tables(pipeline, sink, {"worker": TABLE.contract}) == {"canonical.worker": TABLE}
    with pytest.raises(SettingsError, match="the name of the view of entity worker"):
        golden_tables(pipeline, sink, {"worker": TABLE.contract, "worker_provenance": TABLE.contract})


def test_an_owner_table_of_an_older_version_gets_the_column_of_pauses() -> None:
    before = {**OWN, "_owner": {"topic": "text"}, "worker": EXISTING}
    added = [one for one in _statements(before) if "_owner" in one]
    assert added == ['ALTER TABLE "golden"."_owner" ADD COLUMN IF NOT EXISTS paused_at double precision']
    assert not any("_owner" in one for one in _statements({**OWN, "worker": EXISTING}))


def test_money_has_two_columns_and_everything_else_one() -> None:
    columns = TABLE.columns
    assert columns[0] == TableColumn("entity_id", "text")
    assert TableColumn("base_pay_amount", "numeric(38,4)") in columns
    assert TableColumn("base_pay_currency", "character(3)") in columns
    assert TableColumn("height", "numeric(10,3)") in columns
    assert TableColumn("hired_at", "timestamp with time zone") in columns
    assert [column.name for column in columns[-6:]] == [
        *("_revision", "_updated_at", "_topic_epoch", "_partition", "_offset", "_provenance")
    ]


def test_on_an_empty_database_everything_is_created() -> None:
    statements = _statements({})
    assert statements[0] == 'CREATE SCHEMA IF NOT EXISTS "golden"'
    assert any("CREATE TABLE IF NOT EXISTS" in one and '"golden"."worker"' in one for one in statements)
    assert any("CREATE OR REPLACE VIEW" in one for one in statements)


def test_if_everything_exists_nothing_is_done() -> None:
    views = {"worker_provenance": _statements({})[-1].rsplit("'", 2)[1]}
    assert _statements({**OWN, "worker": EXISTING}, views) == []


def test_a_new_field_is_a_new_column() -> None:
    older = {name: kind for name, kind in EXISTING.items() if name != "remote"}
    assert _statements({**OWN, "worker": older})[0] == (
        'ALTER TABLE "golden"."worker" ADD COLUMN IF NOT EXISTS "remote" boolean'
    )


def test_another_type_is_refused_with_the_statement_to_run() -> None:
    with pytest.raises(EnvironmentFault) as fault:
        _statements({**OWN, "worker": {**EXISTING, "height": "numeric(10,2)"}})
    assert fault.value.why == "column height is numeric(10,2), and the contract says numeric(10,3)"
    assert 'ALTER TABLE "golden"."worker" ALTER COLUMN "height" TYPE numeric(10,3)' in fault.value.next_step


def test_names_are_quoted_everywhere() -> None:
    for one in _statements({}):
        assert sql.Identifier("golden").as_string(None) in one


def test_of_several_changes_to_an_entity_the_newest_is_written() -> None:
    kept = newest([upsert("a", 1), upsert("b", 2), tombstone("a", 3), upsert("b", 1), upsert("a", 9, epoch=0)])
    assert {(one.entity_id, one.offset, one.row is None) for one in kept} == {("a", 3, True), ("b", 2, False)}


def test_the_sample_record_is_complete() -> None:
    assert set(record().fields) == set(TABLE.contract.fields)
