"""Drives the example's source: a real Tryton ERP with a seeded company, and people who work in it.

`sluice demo --example tryton` and the scenario tests call this; see `sluice.testing.example` for the contract.
"""

import secrets
from pathlib import Path

from erp import database
from erp.environment import ensure_environment
from erp.live import LiveEdits, start_edits
from erp.server import start_server, write_config
from erp.template import USER, client_environment, ensure_template, set_password
from erp.truth import expected

from sluice.testing.example import ExampleContext, Running, Truth

DATABASE = "tryton"


def prepare(ctx: ExampleContext) -> None:
    """Tryton's environment and the template of its database, both cached."""
    ensure_environment(ctx.cache_dir, ctx.progress)
    ensure_template(ctx.postgres_dsn, ctx.cache_dir, ctx.progress)


def start(ctx: ExampleContext) -> Running:
    """Restore the database if this server has none yet, start Tryton on it."""
    environment = ensure_environment(ctx.cache_dir, ctx.progress)
    directory = _directory(ctx)
    if not database.exists(ctx.postgres_dsn, DATABASE):
        ctx.progress("tryton: restoring the company")
        template = ensure_template(ctx.postgres_dsn, ctx.cache_dir, ctx.progress)
        _remember(directory, template.password)
        database.restore(ctx.postgres_dsn, DATABASE, template.dump)
    password = _password(ctx, environment, directory)
    ctx.progress("tryton: starting the ERP")
    server = start_server(environment, directory, database.server_uri(ctx.postgres_dsn), DATABASE)
    variables = {
        "ERP_DSN": database.dsn_of(ctx.postgres_dsn, DATABASE),
        "ERP_URL": server.url,
        "ERP_USER": USER,
        "ERP_PASSWORD": password,
    }
    return Running(env=variables, processes={"source-tryton": server.process.pid}, stop=server.stop)


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


def truth(running: Running) -> Truth:
    """The golden records that Tryton's own tables call for."""
    return expected(running.env["ERP_DSN"])


def _directory(ctx: ExampleContext) -> Path:
    directory = ctx.state_dir / "tryton"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _remember(directory: Path, password: str) -> None:
    file = directory / "password"
    file.touch(mode=0o600)
    file.write_text(password)


def _password(ctx: ExampleContext, environment: Path, directory: Path) -> str:
    """The password of this database, set anew where a lost state directory took it along."""
    file = directory / "password"
    if not file.exists():
        ctx.progress("tryton: setting a new password")
        password = secrets.token_urlsafe(16)
        config = write_config(directory, database.server_uri(ctx.postgres_dsn), port=0)
        set_password(environment, config, DATABASE, password)
        _remember(directory, password)
    return file.read_text()
