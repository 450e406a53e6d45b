"""The finance database is what a change-data-capture reader has to cope with, and follows from a seed."""

import json
import subprocess
import sys
from typing import Any

import psycopg

from examples.workforce.finance.edits import EDITS, OPTIONAL_EDITS, Books
from examples.workforce.finance.load import load
from support.pace import within
from support.repository import ROOT

TABLES = ("cost_centre", "payroll", "ledger_entry")


def contents(connection: psycopg.Connection[Any], table: str) -> list[str]:
    columns = {
        "cost_centre": "t.code, t.name, t.owner_employee_number",
        "payroll": "t.employee_number, t.base_pay, t.iban, t.cost_centre, t.notes",
        "ledger_entry": "t.id, t.cost_centre, t.employee_number, t.amount, t.text",
    }[table]
    query = psycopg.sql.SQL("SELECT row({})::text FROM {} t ORDER BY 1")
    rows = connection.execute(query.format(psycopg.sql.SQL(columns), psycopg.sql.Identifier(table)))
    return [row[0] for row in rows]


def test_filling_the_database_twice_changes_nothing(postgres_dsn: str) -> None:
    assert load(postgres_dsn, 7, 500, 300)["ledger_entry"] == 300
    with psycopg.connect(postgres_dsn) as connection:
        before = [contents(connection, table) for table in TABLES]
    assert load(postgres_dsn, 8, 500, 300) == {}
    with psycopg.connect(postgres_dsn) as connection:
        assert [contents(connection, table) for table in TABLES] == before


def test_some_notes_are_stored_out_of_line(postgres_dsn: str) -> None:
    load(postgres_dsn, 7, 500, 0)
    with psycopg.connect(postgres_dsn) as connection:
        query = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'public.payroll'::regclass"
        assert connection.execute(query).fetchone() != (0,)


def test_live_edits_make_every_kind_of_change_and_say_which(postgres_dsn: str) -> None:
    load(postgres_dsn, 7, 500, 300)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        books = Books(connection, 7, EDITS)
        edits = [books.edit(number) for number in range(600)]
        assert {kind for kind, _ in edits} == set(EDITS)
        last = {(change.table, change.key): change.row for _, changes in edits for change in changes}
        keys = {"cost_centre": "code", "payroll": "employee_number", "ledger_entry": "id"}
        for table, key in keys.items():
            query = psycopg.sql.SQL("SELECT {}::text FROM {}")
            found = connection.execute(query.format(psycopg.sql.Identifier(key), psycopg.sql.Identifier(table)))
            present = {row[0] for row in found}
            for (changed_table, changed_key), row in last.items():
                if changed_table == table:
                    assert (changed_key in present) == (row is not None)


def test_the_rare_kinds_are_made_only_when_asked_for(postgres_dsn: str) -> None:
    load(postgres_dsn, 7, 500, 300)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        books = Books(connection, 7, OPTIONAL_EDITS)
        assert {books.edit(number)[0] for number in range(20)} == set(OPTIONAL_EDITS)
        assert contents(connection, "ledger_entry") == []


def test_the_live_process_makes_as_many_edits_as_asked_and_the_same_from_one_seed(
    postgres_dsn: str, tmp_path: Any
) -> None:
    def edited(schema_dsn: str) -> tuple[dict[str, int], list[list[str]]]:
        with psycopg.connect(schema_dsn, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS public.cost_centre, public.payroll, public.ledger_entry")
        load(schema_dsn, 7, 200, 100)
        live = [sys.executable, "-m", "examples.workforce.finance.live", "--dsn", schema_dsn]
        command = [*live, "--edits", "200", "--edits-per-second", "0"]
        done = subprocess.run(command, check=True, capture_output=True, timeout=within(60), cwd=ROOT)
        with psycopg.connect(schema_dsn) as connection:
            return json.loads(done.stdout), [contents(connection, table) for table in TABLES]

    kinds, tables = edited(postgres_dsn)
    assert sum(kinds.values()) == 200
    assert edited(postgres_dsn) == (kinds, tables)
