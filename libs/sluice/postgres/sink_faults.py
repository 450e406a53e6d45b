"""psycopg's errors met at a *sink*, turned into ours: whose fault, and what next. Never a row's content or a secret.

Postgres quotes values in MESSAGE and DETAIL of data errors, so only the SQLSTATE and names of ours are told for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sluice.errors import DeadRecord, EnvironmentFault, SluiceError, Transient, classify_sqlstate

_ROW_TOO_BIG = "54000"  # program_limit_exceeded: an index entry or a row beyond what a page takes
_DISK_FULL = "53100"
_NO_COLUMN = "42703"
_NO_RELATION = {"42P01", "3F000"}


def policy(error: psycopg.Error) -> type[SluiceError] | None:
    """What to do about an error of a write; None = unknown, a bug."""
    if error.sqlstate is None:
        # A DataError without a state is psycopg's own: it refused to send the value (a NUL, a lone surrogate).
        return DeadRecord if isinstance(error, psycopg.DataError) else Transient
    if error.sqlstate == _ROW_TOO_BIG:
        return DeadRecord
    return EnvironmentFault if error.sqlstate == _DISK_FULL else classify_sqlstate(error.sqlstate)


@contextmanager
def sink_errors(where: str) -> Iterator[None]:
    """Translate what psycopg raises within. Raises DeadRecord, Transient, EnvironmentFault, or psycopg's own: a bug."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, where) from None


def translate(error: psycopg.Error, where: str) -> Exception:
    """Our error for psycopg's."""
    state = error.sqlstate or "no SQLSTATE"
    kind = policy(error)
    if kind is DeadRecord:
        return DeadRecord("refused-by-postgres", f"{where}: {type(error).__name__} ({state})")
    if kind is Transient:
        return Transient(f"{where}: {type(error).__name__} ({state})")
    if kind is EnvironmentFault:
        why = f"{error.diag.message_primary or type(error).__name__} ({state})"
        return EnvironmentFault(where, why, _next_step(state))
    return error


def _next_step(state: str) -> str:
    if state == "42501":
        return "grant the sink's user CREATE and USAGE on the schema, and ownership of its tables"
    if state == _DISK_FULL:
        return "free disk space on the database server; the sink resumes by itself"
    if state == _NO_COLUMN:
        return (
            "restart sink-postgres: at its start it adds the columns that the pipeline's entities have and the table "
            "lacks. Rows written before hold null there until their entity changes; "
            "`sluice sink rebuild` fills them (sink stopped)"
        )
    if state in _NO_RELATION:
        return (
            "start sink-postgres: at its start it makes the tables that are missing. If one was dropped, stop the sink "
            "and run `sluice sink rebuild`, which fills it from its topic"
        )
    return "mend the schema; the sink resumes by itself"
