"""psycopg's errors met at a *source*, turned into ours: where, why, next step; never a row's content or a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sluice.errors import DeadRecord, EnvironmentFault, Transient, classify_sqlstate

# Held by another connection for a moment: our own, not gone yet, or an operator's.
_IN_USE = {"55006", "55P03"}
# A connection refused by a server that works carries no SQLSTATE, only text; these texts pass by themselves.
_PASSING = ("the database system is", "too many", "remaining connection slots", "terminating connection")


@contextmanager
def source_errors(where: str) -> Iterator[None]:
    """Translate what psycopg raises within; `where` names the source and what was being done."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, where) from None


def translate(error: psycopg.Error, where: str) -> Exception:
    """Our error for psycopg's. DETAIL is never used: it quotes rows."""
    state = error.sqlstate
    if isinstance(error, psycopg.OperationalError) and state is None:
        return _connection(error, where)
    why = error.diag.message_primary or type(error).__name__
    policy = Transient if state in _IN_USE else classify_sqlstate(state)
    if policy is Transient:
        return Transient(f"{where}: {why} ({state})")
    if policy in (EnvironmentFault, DeadRecord):
        return EnvironmentFault(where, f"{why} ({state})", "check the source's settings and this user's privileges")
    return error


def _connection(error: psycopg.OperationalError, where: str) -> Exception:
    text = " ".join(str(error).split())
    if "FATAL:" in text and not any(p in text for p in _PASSING):
        return EnvironmentFault(where, text, "check the source's dsn, pg_hba.conf and this user's rights")
    return Transient(f"{where}: {text}")
