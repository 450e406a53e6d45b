"""Drives the example's sources: an HR API and a finance database, and the people who edit both.

`sluice demo` and the scenario tests call this; see `sluice.testing.example` for the contract.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from sluice.testing.example import ExampleContext, GoldenValue, Running, Truth

from .departments import LiveEdits, end, start_hr
from .finance.load import load
from .truth import expected

SEED = 7
# Smaller companies for tests. A store that already has records keeps its size.
WORKERS = int(os.environ.get("WORKFORCE_WORKERS", "10000"))
LEDGER_ENTRIES = int(os.environ.get("WORKFORCE_LEDGER_ENTRIES", "20000"))


def prepare(ctx: ExampleContext) -> None:
    """Nothing needs to be made beforehand."""


def start(ctx: ExampleContext) -> Running:
    """The finance database, filled if it is new, and the HR server on the store it had before."""
    directory = _directory(ctx)
    ctx.progress("workforce: starting the finance database")
    dsn = _finance_database(ctx, directory)
    ctx.progress("workforce: starting the HR API")
    secret = secrets.token_urlsafe(16)
    numbers = ["--workers", str(WORKERS), "--seed", str(SEED), "--edits-per-second", "0"]
    with ThreadPoolExecutor(1) as pool:  # both take a second, and neither needs the other
        loading = pool.submit(load, dsn, SEED, WORKERS, LEDGER_ENTRIES)
        process, url = start_hr(directory, secret, numbers)
    if (failure := loading.exception()) is not None:
        end(process)
        raise failure
    variables = {"HR_URL": url, "HR_CLIENT_SECRET": secret, "FINANCE_DSN": dsn}
    return Running(env=variables, processes={"source-hr": process.pid}, stop=lambda: end(process))


def live(
    ctx: ExampleContext, running: Running, rate_per_s: float, edits: int | None = None, seed: int = 0
) -> LiveEdits:
    """Edits both systems, four of five in finance."""
    arguments = ["--rate", str(rate_per_s), "--seed", str(seed)]
    if edits is not None:
        arguments += ["--edits", str(edits)]
    return LiveEdits(running.env, _directory(ctx) / "edits.jsonl", arguments)


def golden_values(running: Running, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
    """The log is written in golden records' terms already."""
    kept = [edit for edit in edits if edit["value"] is not None]
    return [GoldenValue(e["model"], e["id"], e["field"], e["value"], e["sent_at"]) for e in kept]


def truth(running: Running) -> Truth:
    """The golden records that both systems call for; ask while no edits are made."""
    env = running.env
    return expected(env["HR_URL"], env["HR_CLIENT_SECRET"], env["FINANCE_DSN"])


def _directory(ctx: ExampleContext) -> Path:
    directory = ctx.state_dir / "workforce"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _finance_database(ctx: ExampleContext, directory: Path) -> str:
    """The URL of this state directory's own database: `finance`, or, where that is somebody else's, with a suffix."""
    remembered = directory / "finance.name"
    with psycopg.connect(ctx.postgres_dsn, autocommit=True, connect_timeout=10) as connection:
        taken = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        if not remembered.exists():
            remembered.write_text("finance" if "finance" not in taken else f"finance_{secrets.token_hex(4)}")
        name = remembered.read_text()
        if name not in taken:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return make_conninfo(ctx.postgres_dsn, dbname=name)
