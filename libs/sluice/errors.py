"""Errors, named by the next step. `sluice.error_policies` says which code of Kafka, Postgres or HTTP is which error.

| error              | what the loop does                                                              |
|--------------------|---------------------------------------------------------------------------------|
| `DeadRecord`       | parks the record in `dlq.<stage>` and goes on: it can never succeed              |
| `Transient`        | commits nothing and offers the same records again                               |
| `EnvironmentFault` | stops taking records, parks nothing, reports a fault, resumes by itself         |
| anything else      | our bug: commits nothing, stops, exit code 70                                   |
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended; `meaning` says it in words."""

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
    ExitCode.FINDING: "something is wrong, or could not be checked: the output says what",
    ExitCode.SETTINGS: "a file, a variable or an argument that you wrote is refused",
    ExitCode.ENVIRONMENT: "a server, a topic or a permission is missing, or a server does not answer",
    ExitCode.NOT_YET: "nothing is wrong, but no golden record came in time (`up` and `demo` with `--seconds`)",
    ExitCode.BUG: "a bug of Sluice: nothing of the open batch is committed",
}


class SluiceError(Exception):
    """Root of the errors that have a policy."""


class DeadRecord(SluiceError):
    """A record that can never succeed in this stage.

    `code` is a short kebab-case word from a closed list per stage (it groups dead letters by cause);
    `reason` is for people and never quotes the record.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Transient(SluiceError):
    """A failure that passes by itself: nothing is committed, and the same records are tried again.

    `retry_after_s`: the wait that the server asked for. `next_step`: what an operator does where waiting does not help.
    """

    def __init__(self, why: str, retry_after_s: float | None = None, next_step: str = "") -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.next_step = next_step


class TransactionLost(Transient):
    """It is not known how a Kafka transaction ended: the producer fences again and reads back what is durable."""


class Fenced(TransactionLost):
    """Another producer took `transactional_id` over."""

    def __init__(self, why: str, transactional_id: str) -> None:
        super().__init__(why)
        self.transactional_id = transactional_id


class EnvironmentFault(SluiceError):
    """Something outside of Sluice is not as it must be: `where` it was met, `why`, and the operator's `next_step`."""

    def __init__(self, where: str, why: str, next_step: str) -> None:
        super().__init__(f"{where}: {why}. Next: {next_step}")
        self.where = where
        self.why = why
        self.next_step = next_step


class TopicFault(EnvironmentFault):
    """A fault of one input `topic` alone: its partitions wait, and the others go on."""

    def __init__(self, fault: EnvironmentFault, topic: str) -> None:
        super().__init__(fault.where, fault.why, fault.next_step)
        self.topic = topic


class Outdated(SluiceError):
    """A newer version of this process's code is in force: the process must leave its group, or values would change back
    and forth."""


class StateUnusable(SluiceError):
    """The local store failed after its batch was committed: this process must end, and the next one restores it."""


class Bug(Exception):
    """A promise of our own code is broken. Not a SluiceError, so that only the end of the process catches it."""


class UnknownCode(Bug):
    """A server answered with a code that no table of ours has a policy for, in the path of data: nothing is committed.

    `where`: the place and the action. `code`: with its name. `next_step`: for the operator.
    """

    def __init__(self, where: str, code: str, next_step: str) -> None:
        super().__init__(f"{where}: {code}; nothing of it is committed. Next: {next_step}")


class SettingsError(SluiceError):
    """Settings or the pipeline's files are wrong; found before anything runs."""


def frames_of(error: BaseException) -> str:
    """A bug for the log: the classes and frames of `error` and of the errors that led to it, the earliest first.

    Only our own errors' messages are included, because those of others may quote a record. Notes never are.
    """
    return "\n".join(line for one in reversed(list(_chain(error))) for line in _raised(one))


def log_text(error: BaseException) -> str:
    """`error` as one log line of a process that goes on: the text of one of ours, else the frames."""
    return str(error) if isinstance(error, Bug | SluiceError) else frames_of(error)


WAIT = "wait, it is tried again by itself; if it lasts, check the server that is named"


def fault_text(error: BaseException) -> str:
    """`error` as the text of a fault that is active while the action is tried again: one line, no frames."""
    if isinstance(error, EnvironmentFault | Bug):
        return str(error)
    if isinstance(error, SluiceError):
        helps = error.next_step if isinstance(error, Transient) else ""
        return f"{error}. Next: {helps or WAIT}"
    return f"{type(error).__name__} where none may be, which is tried again. Next: report it with the frames in the log"


def _chain(error: BaseException) -> Iterator[BaseException]:
    passed: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in passed:
        passed.add(id(following))
        yield following
        before = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or before


def _raised(error: BaseException) -> Iterator[str]:
    message = f": {error}," if isinstance(error, Bug | SluiceError) else ""
    yield f"{type(error).__name__}{message} raised at"
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield f"  {frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"


def suggestion(written: str, known: Iterable[str]) -> str:
    """Asks whether the nearest of `known` is meant; lists all of them where none is near."""
    names = list(known)
    close = get_close_matches(written, names, 1)
    return f"is {close[0]} meant?" if close else f"there are {', '.join(names) or 'none'}"
