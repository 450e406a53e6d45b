"""The errors of Sluice. An error's class says what a stage does next.

| error                       | what the stage's loop does                                                           |
|-----------------------------|--------------------------------------------------------------------------------------|
| `DeadRecord`                | parks the record in `dlq.<stage>` and goes on: the record can never succeed          |
| `Transient`                 | commits nothing and processes the same records again                                 |
| `EnvironmentFault`          | reads no more records, parks nothing, reports a fault, continues when it is resolved |
| `Outdated`, `StateUnusable` | commits nothing more, ends the process with exit code 3; a new start can continue    |
| any other error             | a bug of Sluice: commits nothing, ends the process with exit code 70                 |

`sluice.error_policies` says which code of Kafka, Postgres or HTTP is which error.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command, which says how the command ended. `meaning`: the same in words."""

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
    """The base class of the errors for which Sluice defines what a process does next, such as to park a record."""


class DeadRecord(SluiceError):
    """A record can never succeed in the stage that processes it, so the stage parks it as a dead letter.

    `code`: a short kebab-case word from the stage's list of causes, by which dead letters are grouped. `reason`: a text
    for people, which never quotes the record.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Transient(SluiceError):
    """A failure passes by itself: nothing is committed, and the same records are processed again.

    `retry_after_s`: how long the server asked the client to wait, None if it did not. `next_step`: what an operator
    does if waiting does not help, empty for the usual step.
    """

    def __init__(self, why: str, retry_after_s: float | None = None, next_step: str = "") -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.next_step = next_step


class TransactionLost(Transient):
    """It is not known how a Kafka transaction ended.

    The process fences its transactional id with a new producer, then reads what is durable.
    """


class Fenced(TransactionLost):
    """A newer producer with the same `transactional_id` fenced the producer of this process."""

    def __init__(self, why: str, transactional_id: str) -> None:
        super().__init__(why)
        self.transactional_id = transactional_id


class EnvironmentFault(SluiceError):
    """Something outside of Sluice is not as it must be, and an operator must repair it.

    `where`: the place of the error. `why`: the cause. `next_step`: what the operator does.
    """

    def __init__(self, where: str, why: str, next_step: str) -> None:
        super().__init__(f"{where}: {why}. Next: {next_step}")
        self.where = where
        self.why = why
        self.next_step = next_step


class TopicFault(EnvironmentFault):
    """A fault that concerns only one input topic: the topic's partitions wait, and the stage processes the others."""

    def __init__(self, fault: EnvironmentFault, topic: str) -> None:
        super().__init__(fault.where, fault.why, fault.next_step)
        self.topic = topic


class Outdated(SluiceError):
    """Another process runs a newer version of this process's code, so this process must leave its consumer group.

    If both versions wrote, values would change back and forth.
    """


class StateUnusable(SluiceError):
    """The local store failed after a batch was committed, so the store does not contain the batch.

    The process must end. Its next start restores the store from Kafka.
    """


class Bug(Exception):
    """Sluice's own code broke a promise. It is not a SluiceError, so that only the end of the process catches it."""


class UnknownCode(Bug):
    """A server answered an operation on data with a code that has no policy. Nothing of the operation is committed.

    `where`: the place and the action. `code`: the server's code and its name. `next_step`: what an operator does.
    """

    def __init__(self, where: str, code: str, next_step: str) -> None:
        super().__init__(f"{where}: {code}; nothing of it is committed. Next: {next_step}")


class SettingsError(SluiceError):
    """A setting, an argument or a file of the pipeline is wrong. The error is raised before anything runs."""


def frames_of(error: BaseException) -> str:
    """A text about a bug for the log: classes and stack frames of `error` and of the errors that caused it.

    The earliest error comes first. Only messages of Sluice's own errors are included, because other messages may quote
    a record. Notes of an error are never included.
    """
    return "\n".join(line for one in reversed(list(_chain(error))) for line in _raised(one))


def log_text(error: BaseException) -> str:
    """The log text of an error after which the process goes on: the message if the error is Sluice's own, else its
    stack frames."""
    return str(error) if isinstance(error, Bug | SluiceError) else frames_of(error)


WAIT = "wait, it is tried again by itself; if it lasts, check the server that is named"


def fault_text(error: BaseException) -> str:
    """`error` as the text of a fault that is active while a process repeats a failed action: one line, no frames."""
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
    """A text for an error about the unknown name `written`: "is X meant?" with the most similar name of `known`.

    If no name is similar, the text lists all of `known`.
    """
    names = list(known)
    close = get_close_matches(written, names, 1)
    return f"is {close[0]} meant?" if close else f"there are {', '.join(names) or 'none'}"
