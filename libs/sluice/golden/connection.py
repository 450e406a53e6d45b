"""Connections to a sink's database, with a deadline for connecting, for each statement and for each lock."""

from typing import Any

import psycopg
from psycopg import conninfo

from sluice.errors import EnvironmentFault
from sluice.golden.faults import translate

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_TIMEOUT_S = 5
# A writer that stalls inside a transaction locks its partition's row, so the server ends its connection.
IDLE_IN_TRANSACTION_MAX_S = 30
_OPTIONS = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    # Overrides a setting of the database or role: an acknowledged commit must survive a crash.
    "synchronous_commit": "on",
    # A batch is copied and sorted in memory. With Postgres's defaults (8 MB and 4 MB), it is written to files twice,
    # which costs 10 % of Postgres's time.
    "temp_buffers": "32MB",
    "work_mem": "32MB",
    # This setting of a connection marks it as the sink's: the trigger of golden tables notes the writes of all others.
    "sluice.writer": "sink",
}
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def connect(dsn: str, where: str, idle_in_transaction_max_s: int = IDLE_IN_TRANSACTION_MAX_S) -> Connection:
    """Open a connection without autocommit.

    Raises EnvironmentFault, which names `where` and never quotes the dsn, if the dsn is malformed or the server
    refuses.
    """
    try:
        asked = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise EnvironmentFault(
            where, "its dsn cannot be read", "write it as a postgresql:// URL or key=value"
        ) from None
    options = {**_OPTIONS, "idle_in_transaction_session_timeout": f"{idle_in_transaction_max_s}s"}
    ours = " ".join(f"-c {name}={value}" for name, value in options.items())
    parameters: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": "sluice sink-postgres",
        **_KEEPALIVE,
        **asked,
        "client_encoding": "UTF8",
        "options": f"{asked.get('options') or ''} {ours}".strip(),
    }
    try:
        return psycopg.connect(**parameters)
    except psycopg.OperationalError as error:
        # libpq's message is not shown: it may quote the user and the host of the dsn.
        why = f"cannot connect ({error.sqlstate or 'no answer, or refused'})"
        raise EnvironmentFault(
            where, why, "start the server, or correct the sink's dsn; it resumes by itself"
        ) from None
    except psycopg.Error as error:
        raise translate(error, where) from None
