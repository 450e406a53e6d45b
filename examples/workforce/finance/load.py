"""Creates and fills the finance database: `python -m examples.workforce.finance.load --dsn …` (or FINANCE_DSN).

Does nothing to a database that already has payrolls, so that it can be run before every start.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from . import generate

_SCHEMA = Path(__file__).with_name("schema.sql")


def load(dsn: str, seed: int, workers: int, entries: int) -> dict[str, int]:
    """Creates the tables and fills them in one transaction; rows written per table (none if there were any)."""
    with psycopg.connect(dsn) as connection:
        connection.execute(_SCHEMA.read_bytes())
        if connection.execute("SELECT EXISTS (SELECT FROM public.payroll)").fetchone() == (True,):
            return {}
        ledger = generate.ledger_entries(seed, workers, entries)
        return {
            "cost_centre": _copy(connection, "cost_centre", generate.CostCentre, generate.cost_centres(seed)),
            "payroll": _copy(connection, "payroll", generate.Payroll, generate.payrolls(seed, workers)),
            "ledger_entry": _copy(connection, "ledger_entry", generate.LedgerEntry, ledger),
        }


def _copy(connection: psycopg.Connection[Any], table: str, row_type: type[Any], rows: Iterable[Any]) -> int:
    columns = sql.SQL(", ").join(map(sql.Identifier, row_type._fields))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier("public", table), columns)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount


def main() -> int:
    parser = argparse.ArgumentParser(description="Fills the finance database of the workforce example.")
    parser.add_argument("--dsn", default=os.environ.get("FINANCE_DSN"), help="default: FINANCE_DSN")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=20_000, help="ledger entries")
    args = parser.parse_args()
    if not args.dsn:
        parser.error("say --dsn or set FINANCE_DSN")
    written = load(args.dsn, args.seed, args.workers, args.entries)
    sys.stdout.write(f"{written or 'already filled'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
