"""Translates psycopg's errors at a *sink* into Sluice's errors, whose texts contain no value of a row and no secret."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from sluice.errors import DeadRecord, EnvironmentFault, Transient
from sluice.postgres_errors import code_of, next_step, policy_of, raised_in, unknown, why

_ROW_TOO_BIG = "54000"  # program_limit_exceeded: an index entry or a row is too large for a page


@contextmanager
def sink_errors(where: str) -> Iterator[None]:
    """Translate psycopg's errors in a block in which the error cannot be assigned to one record.

    Raises Transient, EnvironmentFault or UnknownCode. An error that parks a record in other places is an
    EnvironmentFault here, such as the violation of a constraint that Postgres checks only at the commit.
    """
    try:
        yield
    except psycopg.Error as error:
        ours = translate(error, where)
        if isinstance(ours, DeadRecord):
            ours = EnvironmentFault(where, _refused(error), _DEFERRED)
        raise ours from None


def translate(error: psycopg.Error, where: str) -> Exception:
    """Sluice's error for an error of psycopg that was raised while a batch was written. `where` names the table."""
    kind = DeadRecord if error.sqlstate == _ROW_TOO_BIG else policy_of(error)
    if kind is DeadRecord:
        return DeadRecord("refused-by-postgres", f"{where}: {code_of(error)}")
    if kind is Transient:
        return Transient(f"{where}: {code_of(error)}")
    if kind is EnvironmentFault:
        return EnvironmentFault(where, why(error), _next_step(error))
    return unknown(error, where)


_DEFERRED = (
    "make the constraint or trigger NOT DEFERRABLE, so that it is checked row by row and the one record is parked, or "
    "drop it; the sink resumes by itself"
)


def _refused(error: psycopg.Error) -> str:
    names = error.diag
    constraint = f" by constraint {names.constraint_name} of table {names.table_name}" if names.constraint_name else ""
    return f"refused{constraint}: {code_of(error)}"


def _next_step(error: psycopg.Error) -> str:
    if raised_in(error):
        return (
            "fix or drop that function or its trigger; the sink resumes by itself, and nothing is parked meanwhile. "
            "A function that means one record alone raises with an ERRCODE of class 23, such as check_violation: "
            "then that record is parked, and the others go on"
        )
    if shared := next_step(error):
        return f"{shared}; the sink resumes by itself"
    return _NEXT_STEPS.get(error.sqlstate or "", "fix the schema; the sink resumes by itself")


_MISSING = (
    "start sink-postgres: at its start it creates the missing tables. If one was dropped, stop the sink "
    "and run `sluice sink rebuild`, which fills it from its topic"
)
_NEXT_STEPS = {
    "42501": "grant the sink's user CREATE and USAGE on the schema, and ownership of its tables",
    "42703": "restart sink-postgres: at its start it adds the columns that the pipeline's entities have and the table "
    "lacks. They are null in rows written before, until their entity changes; "
    "`sluice sink rebuild` fills them (sink stopped)",
    "42P01": _MISSING,
    "3F000": _MISSING,
    "0A000": "drop the rules of that table: the sink cannot write through them; it resumes by itself",
}
