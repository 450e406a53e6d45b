"""Translates psycopg's errors of a source to Sluice's errors: where, why, next step; never a row or a secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sluice.errors import DeadRecord, EnvironmentFault, Transient
from sluice.postgres_errors import next_step, policy_of, raised_in, unknown, why

# The error of a refused connection has no SQLSTATE, only text. The cause of a refusal with one of these texts ends by
# itself.
_TRANSIENT_TEXTS = ("the database system is", "too many", "remaining connection slots", "terminating connection")


@contextmanager
def source_errors(where: str) -> Iterator[None]:
    """Translate the psycopg errors that the body of this context raises. `where`: the source and the object, for the
    text.

    Raises Transient if a retry may succeed, and EnvironmentFault if the source or this user's rights must change.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _translated(error, where) from None


def _translated(error: psycopg.Error, where: str) -> Exception:
    """Sluice's error for an error of psycopg. The error's DETAIL is never used, because it quotes rows."""
    state = error.sqlstate
    if isinstance(error, psycopg.OperationalError) and state is None:
        return _connection(error, where)
    policy = policy_of(error)
    if policy is Transient:
        return Transient(f"{where}: {why(error)}")
    if policy in (EnvironmentFault, DeadRecord):
        return EnvironmentFault(where, why(error), _next_step(error))
    return unknown(error, where)


def _next_step(error: psycopg.Error) -> str:
    if raised_in(error):
        return (
            "ask the author of that function (an event trigger?) to allow this user; the stage then continues by itself"
        )
    return next_step(error) or "check the source's settings and this user's privileges"


def _connection(error: psycopg.OperationalError, where: str) -> Exception:
    text = " ".join(str(error).split())
    if "FATAL:" in text and not any(p in text for p in _TRANSIENT_TEXTS):
        return EnvironmentFault(where, text, "check the source's dsn, pg_hba.conf and this user's rights")
    return Transient(f"{where}: {text}")
