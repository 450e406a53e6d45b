"""Connections to a source database, for SQL and for the replication protocol; runs the statements of `sql/`."""

from __future__ import annotations

import select
import time
from importlib import resources
from typing import Any

import psycopg
from psycopg import conninfo, pq
from psycopg.rows import dict_row

from sluice.cdc.column_json import SESSION_OPTIONS
from sluice.cdc.source_errors import source_errors
from sluice.errors import EnvironmentFault, Transient

CONNECT_TIMEOUT_S = 10
APPLICATION_NAME = "sluice ingress-cdc"
# These settings replace those of the role or the database, which must not decide which rows a SELECT returns, how their
# values are spelled, or how long the SELECT may run (pg_dump sets about the same). `row_security = off` does not
# disable row security: a SELECT that row security would filter fails. Otherwise a snapshot would silently omit such
# rows, although their changes are in the log.
PINNED = {
    "row_security": "off",
    "search_path": "",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "lc_monetary": "C",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "default_transaction_isolation": r"read\ committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
# Only newer servers have `transaction_timeout`. An older server refuses a connection whose options name it.
_NO_TRANSACTION_TIMEOUT = (
    b"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'"
)
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

Connection = psycopg.Connection[tuple[object, ...]]


def connect(dsn: str, where: str, *, replication: bool = False, statement_timeout_s: float = 30.0) -> Connection:
    """Open an autocommit connection. Raises Transient if the server does not answer, and EnvironmentFault if the dsn or
    the login is refused. The error names `where` and never quotes the dsn."""
    options = {**PINNED, **{k: v for k, v in SESSION_OPTIONS.items() if k != "client_encoding"}}
    # Replication commands have deadlines in `run_command`: the role's statement_timeout must not end a command.
    options["statement_timeout"] = "0" if replication else str(int(statement_timeout_s * 1000))
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The text of psycopg's error quotes the part of the dsn that it could not read, which may be a password.
        raise EnvironmentFault(
            where, "its dsn cannot be read", "write it as a postgresql:// URL or key=value"
        ) from None
    ours = " ".join(f"-c {k}={v}" for k, v in options.items())
    more = {"replication": "database"} if replication else {}
    with source_errors(where):
        connection: Connection = psycopg.connect(
            **{
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": APPLICATION_NAME,
                **_KEEPALIVE,
                **given,
                "client_encoding": SESSION_OPTIONS["client_encoding"],
                "options": f"{given.get('options') or ''} {ours}".strip(),
                **more,
            },  # type: ignore[arg-type]
            autocommit=True,
        )
        try:
            # The statement has no parameters, because a replication connection accepts no extended query.
            connection.execute(_NO_TRANSACTION_TIMEOUT)
        except BaseException:
            connection.close()
            raise
        return connection


def run_command(connection: Connection, command: str, where: str, deadline_s: float, late: str = "") -> pq.abc.PGresult:
    """Run one replication command and return its result.

    The server's timeouts do not apply to replication commands: after `deadline_s` seconds the command is cancelled and
    Transient is raised; `late` is added to its text. Other errors are raised as `source_errors` translates them.
    """
    pgconn = connection.pgconn
    give_up = time.monotonic() + deadline_s
    with source_errors(where):
        pgconn.send_query(command.encode())
        while pgconn.flush() or pgconn.is_busy():
            left = give_up - time.monotonic()
            if left <= 0:
                connection.cancel_safe(timeout=5.0)
                raise Transient(f"{where}: no answer within {deadline_s:.0f} s{late}")
            select.select([pgconn.socket], [], [], min(left, 0.5))
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            raise Transient(f"{where}: the connection ended")
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        if result.status != pq.ExecStatus.COPY_BOTH:
            while pgconn.get_result() is not None:
                """Read the results until the command ends; else the connection stays busy."""
        return result


def query(connection: Connection, name: str, where: str, **parameters: Any) -> list[dict[str, Any]]:
    """Run the statement of `sql/<name>.sql`; each row of the result is a dict by column name. Raises Transient if the
    server does not answer, and EnvironmentFault if it refuses the statement."""
    statement = resources.files("sluice.cdc").joinpath("sql", f"{name}.sql").read_bytes()
    with source_errors(where), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters).fetchall()
