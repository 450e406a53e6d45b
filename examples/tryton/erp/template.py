"""The template: a seeded company as a database dump, made once with Tryton's own tools and client, then cached.

Making it costs half a minute of CPU time; restoring it well under a second. The key covers everything that it is
made from, so that a change of the seed or of a version makes a new one.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from . import database
from .environment import ensure_environment, environment_key, exclusive, python_of, script_of
from .server import ErpServer, start_server, write_config

CLIENT = Path(__file__).parent / "client"
MODULES = ("party", "company", "account")
USER = "admin"
STEP_TIMEOUT_S = 300.0
_UNFINISHED = "tryton-unfinished-"


@dataclass(frozen=True)
class Template:
    """Where a finished template lies: the dump, and the password of Tryton's user in it."""

    dump: Path
    password: str


def ensure_template(server_dsn: str, cache_dir: Path, progress: Callable[[str], None]) -> Template:
    """The cached template; made on the server of `server_dsn`, in a scratch database, if there is none."""
    directory = cache_dir / f"tryton-template-{_key()}"
    if not directory.exists():
        environment = ensure_environment(cache_dir, progress)
        with exclusive(cache_dir / "tryton-template.lock"):
            if not directory.exists():
                _make(server_dsn, environment, directory, progress)
    return Template(directory / "company.dump", (directory / "password").read_text())


def client_environment(url: str, password: str) -> dict[str, str]:
    """Environment variables for the scripts in `client/`."""
    return {**os.environ, "ERP_URL": url, "ERP_USER": USER, "ERP_PASSWORD": password, "PYTHONUTF8": "1"}


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(text)
    os.replace(partial, file)


def _key() -> str:
    digest = hashlib.sha256((environment_key() + ",".join(MODULES)).encode())
    for name in ("company.py", "people.py"):
        digest.update((CLIENT / name).read_bytes())
    return digest.hexdigest()[:16]


def _make(server_dsn: str, environment: Path, directory: Path, progress: Callable[[str], None]) -> None:
    scratch = f"sluice_template_{secrets.token_hex(4)}"
    password = secrets.token_urlsafe(16)
    for abandoned in directory.parent.glob(f"{_UNFINISHED}*"):  # of a run that was killed: this process has the lock
        shutil.rmtree(abandoned, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=directory.parent))
    try:
        progress("tryton: making the template database (once)")
        _create_fast(server_dsn, scratch)
        config = write_config(work / "server", database.server_uri(server_dsn), port=0)
        _administer(environment, config, scratch, password, ["--all", "--email", "admin@example.com"])
        progress(f"tryton: activating modules {', '.join(MODULES)}")
        _administer(environment, config, scratch, password, ["--update", *MODULES, "--activate-dependencies"])
        server = start_server(environment, work / "server", database.server_uri(server_dsn), scratch)
        try:
            progress(f"tryton: made {_seed(environment, server, password)} through the ERP's own client")
        finally:
            server.stop()
        shutil.rmtree(work / "server")
        database.dump(server_dsn, scratch, work / "company.dump")
        write_private(work / "password", password)
        os.rename(work, directory)
    finally:
        database.drop(server_dsn, scratch)
        shutil.rmtree(work, ignore_errors=True)


def _create_fast(server_dsn: str, scratch: str) -> None:
    """A scratch database that need not survive a crash: commits do not wait for the disk."""
    database.create(server_dsn, scratch)
    statement = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(scratch))
    with psycopg.connect(server_dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(statement)


def _administer(environment: Path, config: Path, name: str, password: str, arguments: list[str]) -> None:
    """Run trytond-admin; it reads the password from a file, never from its arguments."""
    with tempfile.NamedTemporaryFile("w", dir=config.parent, suffix=".password") as file:
        file.write(password + "\n")
        file.flush()
        _run(
            [*script_of(environment, "trytond-admin"), "-c", str(config), "-d", name, *arguments],
            {**os.environ, "TRYTONPASSFILE": file.name},
            "trytond-admin",
        )


def _seed(environment: Path, server: ErpServer, password: str) -> str:
    command = [str(python_of(environment)), str(CLIENT / "company.py")]
    made = json.loads(_run(command, client_environment(server.url, password), "company.py"))
    return ", ".join(f"{count} {what}" for what, count in made.items())


def _run(command: list[str], variables: dict[str, str], name: str) -> str:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=STEP_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"{name} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
