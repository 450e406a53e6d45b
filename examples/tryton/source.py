"""Drives the example's source: a real Tryton ERP with a seeded company, and people who work in it.

`sluice demo --example tryton` and the scenario tests call this; see `sluice.testing.example` for the contract.
"""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sluice.testing.example import ExampleContext, GoldenValue, Running, Truth

from .erp import database
from .erp.environment import ensure_environment
from .erp.golden import golden_values_of
from .erp.live import LiveEdits, start_edits
from .erp.server import start_server
from .erp.template import USER, Template, client_environment, ensure_template, write_private
from .erp.truth import expected

DATABASE = "tryton"


class Source(NamedTuple):
    """A run's database and the template that it came from."""

    database: str
    template: Template


def prepare(ctx: ExampleContext) -> None:
    """Tryton's environment and the template of its database, both cached."""
    ensure_environment(ctx.cache_dir, ctx.progress)
    ensure_template(ctx.postgres_dsn, ctx.cache_dir, ctx.progress)


def start(ctx: ExampleContext) -> Running:
    """Restore the database if this state directory has none yet, start Tryton on it."""
    environment = ensure_environment(ctx.cache_dir, ctx.progress)
    source = _source(ctx)
    if not database.exists(ctx.postgres_dsn, source.database):
        ctx.progress("tryton: restoring the company")
        database.restore(ctx.postgres_dsn, source.database, source.template.dump)
    ctx.progress("tryton: starting the ERP")
    server = start_server(environment, _directory(ctx), database.server_uri(ctx.postgres_dsn), source.database)
    variables = {
        "ERP_DSN": database.dsn_of(ctx.postgres_dsn, source.database),
        "ERP_URL": server.url,
        "ERP_USER": USER,
        "ERP_PASSWORD": source.template.password,
    }
    return Running(env=variables, processes={"source-tryton": server.pid}, stop=server.stop)


def live(
    ctx: ExampleContext, running: Running, rate_per_s: float, edits: int | None = None, seed: int = 0
) -> LiveEdits:
    """Edit through Tryton's own client; a laptop's core makes about 40 edits a second."""
    environment = ensure_environment(ctx.cache_dir, ctx.progress)
    variables = client_environment(running.env["ERP_URL"], running.env["ERP_PASSWORD"])
    arguments = ["--rate", str(rate_per_s), "--seed", str(seed)]
    if edits is not None:
        arguments += ["--edits", str(edits)]
    return start_edits(environment, variables, _directory(ctx) / "edits.jsonl", arguments)


def golden_values(running: Running, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
    """Tryton's records and fields as the golden records that they are made into."""
    return golden_values_of(running.env["ERP_DSN"], edits)


def truth(running: Running) -> Truth:
    """The golden records that Tryton's own tables call for."""
    return expected(running.env["ERP_DSN"])


def _directory(ctx: ExampleContext) -> Path:
    directory = ctx.state_dir / "tryton"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _source(ctx: ExampleContext) -> Source:
    """The source of this state directory: chosen at the first start, before its database exists, and kept."""
    file = _directory(ctx) / "source"
    if not file.exists():
        template = ensure_template(ctx.postgres_dsn, ctx.cache_dir, ctx.progress)
        name = DATABASE
        while database.exists(ctx.postgres_dsn, name):  # another state directory's, on the same server
            name = f"{DATABASE}_{secrets.token_hex(4)}"
        write_private(file, f"{name}\n{template.password}\n{template.dump}\n")
    name, password, dump = file.read_text().splitlines()
    return Source(name, Template(Path(dump), password))
