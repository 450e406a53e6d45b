"""The policy and the error text for each error of psycopg, the Postgres driver of sources and sinks.

The text never quotes values of a row. Postgres quotes values in the MESSAGE and DETAIL of data errors, and a function
or trigger of a user may quote values in any error. For such errors, the text has only the SQLSTATE, the place, and the
function's name and line.
"""

from __future__ import annotations

import re

import psycopg

from sluice.error_policies import SQLSTATE_STOPS, classify_sqlstate
from sluice.errors import DeadRecord, EnvironmentFault, SluiceError, Transient, UnknownCode

# Postgres names a user's function in the CONTEXT of an error: `PL/pgSQL function golden.guard() line 3 at RAISE`. No
# SQL statement of Sluice calls such a function itself, but a trigger can.
_FUNCTION = re.compile(r"^(?:PL/\w+|SQL) function .*$", re.MULTILINE)
# Classes of SQLSTATEs that only code of a user raises, even if CONTEXT names no function.
_RAISED = ("P0", "09", "2F", "38", "39")
_NEXT_STEPS = {
    "25006": "the server is a standby, or read-only: point the dsn at one that takes writes",
    "26000": "connect directly, or through a pooler in session mode: this one keeps no prepared statements",
    "42P05": "connect directly, or through a pooler in session mode: this one keeps no prepared statements",
    "53100": "free disk space on the database server",
    "53400": "raise the server's limit that the message names",
    "XX": "read the database server's log: the server itself has failed",
    "58": "read the database server's log and check its disks",
    "F0": "correct the server's configuration files",
}


def policy_of(error: psycopg.Error) -> type[SluiceError] | None:
    """The Sluice error class that says what to do about an error of psycopg. None means that the stage stops.

    An error that a user's function raised never stops a stage, whatever its SQLSTATE is.
    """
    if error.sqlstate is None:
        # psycopg raises a DataError without a SQLSTATE if it cannot send a value, such as a NUL or a lone surrogate.
        if isinstance(error, psycopg.DataError):
            return DeadRecord
        return Transient if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else None
    policy = classify_sqlstate(error.sqlstate)
    return EnvironmentFault if policy is None and raised_in(error) else policy


def raised_in(error: psycopg.Error) -> str:
    """The user's function or trigger that raised an error, with its line; empty if the server itself raised it."""
    found = _FUNCTION.search(error.diag.context or "")
    if found:
        return found.group()
    return "a function or trigger" if (error.sqlstate or "").startswith(_RAISED) else ""


def code_of(error: psycopg.Error) -> str:
    """A text with the class of an error, its SQLSTATE, and the user's function that raised it, if there is one."""
    function = raised_in(error)
    return f"{type(error).__name__} ({error.sqlstate or 'no SQLSTATE'}){f' of {function}' if function else ''}"


def why(error: psycopg.Error) -> str:
    """The cause of an error as text: Postgres's message if it cannot quote a row, else the text of `code_of`."""
    quotes_values = classify_sqlstate(error.sqlstate) is DeadRecord
    if quotes_values or raised_in(error) or not error.diag.message_primary:
        return code_of(error)
    return f"{error.diag.message_primary} ({error.sqlstate})"


def next_step(error: psycopg.Error) -> str | None:
    """What an operator does about an error, if it is the same for sources and sinks; None if it differs."""
    state = error.sqlstate or ""
    return _NEXT_STEPS.get(state) or _NEXT_STEPS.get(state[:2])


def unknown(error: psycopg.Error, where: str) -> UnknownCode:
    state = error.sqlstate or ""
    reason = SQLSTATE_STOPS.get(state) or SQLSTATE_STOPS.get(state[:2])
    return UnknownCode(
        where,
        f"Postgres says {code_of(error)}, " + (f"which {reason}" if reason else "a code that Sluice does not know"),
        "start the process again: it continues from what is durable. If this error returns, read the database "
        "server's log of this time, and report this line",
    )
