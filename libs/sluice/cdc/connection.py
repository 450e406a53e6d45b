"""Connections to a source database: for SQL and for the replication protocol, both with fixed text formats."""

from __future__ import annotations

import select
import time

import psycopg
from psycopg import conninfo, pq

from sluice.cdc.column_json import SESSION_OPTIONS
from sluice.cdc.faults import source_errors
from sluice.errors import EnvironmentFault, Transient

CONNECT_TIMEOUT_S = 10
APPLICATION_NAME = "sluice ingress-cdc"
# What the settings of a role or a database must not decide: which rows a SELECT returns, how they are spelled, and how
# long it may run (pg_dump pins about the same). `row_security` off does not lift row security: a SELECT that it would
# filter fails, instead of a snapshot that misses rows which the log holds.
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
# Newer servers have these, older ones refuse a connection that names them.
_PINNED_IF_KNOWN = {"transaction_timeout": "0"}
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

Connection = psycopg.Connection[tuple[object, ...]]


def connect(dsn: str, where: str, *, replication: bool = False, statement_timeout_s: float = 30.0) -> Connection:
    """An autocommit connection. Raises Transient or EnvironmentFault naming `where`; never quotes the dsn."""
    options = {**PINNED, **{k: v for k, v in SESSION_OPTIONS.items() if k != "client_encoding"}}
    # On a replication connection a role's own would end the commands, whose deadlines are kept by `run_command`.
    options["statement_timeout"] = "0" if replication else str(int(statement_timeout_s * 1000))
    try:
        asked = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # psycopg's own text quotes the part that it could not read, and that may be a password.
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
                **{k: v for k, v in asked.items() if v is not None},
                "client_encoding": SESSION_OPTIONS["client_encoding"],
                "options": f"{asked.get('options') or ''} {ours}".strip(),
                **more,
            },  # type: ignore[arg-type]
            autocommit=True,
        )
        try:
            # Without parameters, so that a replication connection takes it too.
            pairs = ", ".join(f"('{name}', '{value}')" for name, value in _PINNED_IF_KNOWN.items())
            connection.execute(
                (
                    "SELECT pg_catalog.set_config(s.name, v.value, false) FROM pg_catalog.pg_settings AS s"  # noqa: S608
                    f" JOIN (VALUES {pairs}) AS v(name, value) ON v.name = s.name"
                ).encode()
            )
        except BaseException:
            connection.close()
            raise
        return connection


def run_command(connection: Connection, command: str, where: str, deadline_s: float) -> pq.abc.PGresult:
    """Run one replication command. Timeouts of the server do not hold for these, so the deadline is kept here.

    After the deadline the command is cancelled and Transient raised.
    """
    pgconn = connection.pgconn
    give_up = time.monotonic() + deadline_s
    with source_errors(where):
        pgconn.send_query(command.encode())
        while pgconn.flush() or pgconn.is_busy():
            left = give_up - time.monotonic()
            if left <= 0:
                connection.cancel_safe(timeout=5.0)
                raise Transient(
                    f"{where}: no answer within {deadline_s:.0f} s; an old open transaction there holds it up"
                )
            select.select([pgconn.socket], [], [], min(left, 0.5))
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            raise Transient(f"{where}: the connection ended")
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        if result.status != pq.ExecStatus.COPY_BOTH:
            while pgconn.get_result() is not None:
                """Up to the end of the command, or the connection stays busy."""
        return result
