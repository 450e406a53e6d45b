"""Errors, named by what to do next. Which code of Kafka, Postgres or HTTP is which: `sluice.codes`.

| error              | what the loop does                                                              |
|--------------------|---------------------------------------------------------------------------------|
| `DeadRecord`       | parks the record in `dlq.<stage>` and goes on: it can never succeed              |
| `Transient`        | commits nothing and offers the same records again                               |
| `EnvironmentFault` | stops taking records, parks nothing, alarms, resumes by itself                   |
| anything else      | our bug: commits nothing, stops, exit code 70                                   |
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ended with; `meaning` says it in words."""

    DONE = 0
    FINDING = 1
    SETTINGS = 2
    ENVIRONMENT = 3
    NOT_YET = 4
    BUG = 70

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done, and nothing is wrong",
    ExitCode.FINDING: "something is wrong, or could not be looked at: what is printed says what",
    ExitCode.SETTINGS: "something that you wrote is refused: a file, a variable, an argument",
    ExitCode.ENVIRONMENT: "a server, a topic or a permission is missing, or does not answer",
    ExitCode.NOT_YET: "nothing is wrong, but no golden record came in time (`up` and `demo` with `--seconds`)",
    ExitCode.BUG: "a bug of Sluice: nothing of the open batch is committed",
}


class SluiceError(Exception):
    """Root of the errors that have a policy."""


class DeadRecord(SluiceError):
    """This record can never succeed here.

    `code` is a short kebab-case word from a closed list per stage (it groups dead letters by cause);
    `reason` is for people and never quotes the record.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Transient(SluiceError):
    """Not now; the same records again, nothing committed. `retry_after_s` is what the other side asked for, `next_step`
    what helps where waiting does not."""

    def __init__(self, why: str, retry_after_s: float | None = None, next_step: str = "") -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.next_step = next_step


class TransactionLost(Transient):
    """A Kafka transaction ended without our knowing how: fence again, read back what is durable, go on."""


class Fenced(TransactionLost):
    """Another producer took `transactional_id` over."""

    def __init__(self, why: str, transactional_id: str) -> None:
        super().__init__(why)
        self.transactional_id = transactional_id


class EnvironmentFault(SluiceError):
    """The world around us is not as it must be: `where` it is seen, `why`, and the operator's `next_step`."""

    def __init__(self, where: str, why: str, next_step: str) -> None:
        super().__init__(f"{where}: {why}. Next: {next_step}")
        self.where = where
        self.why = why
        self.next_step = next_step


class TopicFault(EnvironmentFault):
    """What is wrong concerns one input `topic` alone: its partitions wait, and the others go on."""

    def __init__(self, fault: EnvironmentFault, topic: str) -> None:
        super().__init__(fault.where, fault.why, fault.next_step)
        self.topic = topic


class Outdated(SluiceError):
    """Newer code than ours is in force here: this process must leave its group, or values would flip-flop."""


class StateUnusable(SluiceError):
    """The local store failed within a batch that is durable: this process must end, the next one restores it."""


class Bug(Exception):
    """A promise of our own code is broken. Not a SluiceError: nothing but the process's end may catch it."""


class UnknownCode(Bug):
    """A server answered with a code that no table of ours has a policy for, in the path of data: nothing is committed.

    `where` it was met and what was being done, `code` with its name, `next_step` for whoever reads it.
    """

    def __init__(self, where: str, code: str, next_step: str) -> None:
        super().__init__(f"{where}: {code}; nothing of it is committed. Next: {next_step}")


class SettingsError(SluiceError):
    """Settings or the pipeline's files are wrong; found before anything runs."""


def frames_of(error: BaseException) -> str:
    """A bug told for logs: the classes and frames of `error` and of what led to it, first the first. Messages are
    told of our own errors alone, and no notes: those of others may quote a record."""
    return "\n".join(line for one in reversed(list(_chain(error))) for line in _raised(one))


def told(error: BaseException) -> str:
    """`error` for a log that goes on: its text where it is one of ours, else its frames."""
    return str(error) if isinstance(error, Bug | SluiceError) else frames_of(error)


WAIT = "wait, it is tried again by itself; if it lasts, look after the server named"


def fault_text(error: BaseException) -> str:
    """`error` for a fault that stands while the same is tried again and again: one line, no frames."""
    if isinstance(error, EnvironmentFault | Bug):
        return str(error)
    if isinstance(error, SluiceError):
        helps = error.next_step if isinstance(error, Transient) else ""
        return f"{error}. Next: {helps or WAIT}"
    return f"{type(error).__name__} where none may be, which is tried again. Next: report it with the frames in the log"


def _chain(error: BaseException) -> Iterator[BaseException]:
    told: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in told:
        told.add(id(following))
        yield following
        before = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or before


def _raised(error: BaseException) -> Iterator[str]:
    told = f": {error}," if isinstance(error, Bug | SluiceError) else ""
    yield f"{type(error).__name__}{told} raised at"
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield f"  {frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"


def meant(written: str, known: Iterable[str]) -> str:
    """The nearest of `known`, as a question; all of them where none is near."""
    names = list(known)
    close = get_close_matches(written, names, 1)
    return f"is {close[0]} meant?" if close else f"there are {', '.join(names) or 'none'}"
