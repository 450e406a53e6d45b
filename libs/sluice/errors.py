"""Errors, named by what to do next, and the one place that maps SQLSTATE, HTTP status and Kafka codes to them.

| error              | what the loop does                                                              |
|--------------------|---------------------------------------------------------------------------------|
| `DeadRecord`       | parks the record in `dlq.<stage>` and goes on: it can never succeed              |
| `Transient`        | commits nothing and offers the same records again                               |
| `EnvironmentFault` | stops taking records, parks nothing, alarms, resumes by itself                   |
| anything else      | our bug: commits nothing, stops, exit code 70                                   |

Unknown codes are bugs on purpose: a guess here loses data in silence.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    FINDING = 1
    SETTINGS = 2
    ENVIRONMENT = 3
    BUG = 70


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
    """Not now; the same records again, nothing committed. `retry_after_s` is what the other side asked for."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


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


class Outdated(SluiceError):
    """Newer code than ours is in force here: this process must leave its group, or values would flip-flop."""


class StateUnusable(SluiceError):
    """The local store failed within a batch that is durable: this process must end, the next one restores it."""


class Bug(Exception):
    """A promise of our own code is broken. Not a SluiceError: nothing but the process's end may catch it."""


class SettingsError(SluiceError):
    """Settings or the pipeline's files are wrong; found before anything runs."""


def frames_of(error: BaseException) -> str:
    """A bug told for logs: the classes and frames of `error` and of what led to it, first the first. Messages are
    told of our own errors alone, and no notes: those of others may quote a record."""
    return "\n".join(line for one in reversed(list(_chain(error))) for line in _raised(one))


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


# SQLSTATE, by class (first two characters) or in full. Source: PostgreSQL manual, appendix A.
_SQLSTATE_DEAD = {"22", "23"}  # data exception, integrity constraint violation
_SQLSTATE_TRANSIENT = {"08", "40", "53", "57", "58"}  # connection, rollback, resources, operator intervention, system
_SQLSTATE_TRANSIENT_FULL = {"55P03", "25P03", "25P02"}  # lock not available, idle/failed transaction
_SQLSTATE_ENVIRONMENT = {"3D", "3F", "28", "42", "0A", "25", "54", "55"}


def classify_sqlstate(sqlstate: str | None) -> type[SluiceError] | None:
    """Policy for a Postgres error code; None = unknown, a bug. A missing code is a broken connection."""
    if sqlstate is None:
        return Transient
    if sqlstate in _SQLSTATE_TRANSIENT_FULL:
        return Transient
    by_class = sqlstate[:2]
    if by_class in _SQLSTATE_DEAD:
        return DeadRecord
    if by_class in _SQLSTATE_TRANSIENT:
        return Transient
    if by_class in _SQLSTATE_ENVIRONMENT:
        return EnvironmentFault
    return None


def classify_http(status: int) -> type[SluiceError] | None:
    """Policy for an HTTP status of a source API; None for success.

    500 is "slow down" at some vendors, so every 5xx is worth another try; 401 and 403 are for an operator.
    """
    if 200 <= status < 300:
        return None
    if status in (408, 425, 429) or status >= 500:
        return Transient
    return EnvironmentFault


# librdkafka error names (KafkaError.name()) after which the same producer or consumer may go on.
_KAFKA_ENVIRONMENT = {
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "SASL_AUTHENTICATION_FAILED",
    "UNKNOWN_TOPIC_OR_PART",
    "_UNKNOWN_TOPIC",
    "_UNKNOWN_PARTITION",
    "_NOENT",  # no partition leaders: the topic does not exist, or not yet
    "_AUTHENTICATION",
    "_SSL",
}
_KAFKA_TRANSIENT = {
    "_TRANSPORT",
    "_ALL_BROKERS_DOWN",
    "_TIMED_OUT",
    "_TIMED_OUT_QUEUE",
    "_MSG_TIMED_OUT",
    "_RESOLVE",
    "_WAIT_COORD",
    "_PURGE_QUEUE",
    "_PURGE_INFLIGHT",
    "REQUEST_TIMED_OUT",
    "NOT_LEADER_FOR_PARTITION",
    "FENCED_LEADER_EPOCH",  # metadata of a topic made, or led by another broker, a moment ago
    "UNKNOWN_LEADER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "LEADER_NOT_AVAILABLE",
    "COORDINATOR_NOT_AVAILABLE",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "NOT_COORDINATOR",
    "NETWORK_EXCEPTION",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "UNSTABLE_OFFSET_COMMIT",
    "CONCURRENT_TRANSACTIONS",
    "REBALANCE_IN_PROGRESS",
    "ILLEGAL_GENERATION",
    "UNKNOWN_MEMBER_ID",
    "FENCED_MEMBER_EPOCH",
    "STALE_MEMBER_EPOCH",
    "UNRELEASED_INSTANCE_ID",
}
_KAFKA_TRANSACTION_LOST = {
    "_FATAL",
    "_FENCED",
    "_STATE",
    "PRODUCER_FENCED",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "TRANSACTION_ABORTABLE",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "UNKNOWN_PRODUCER_ID",
}


def classify_kafka(name: str) -> type[SluiceError] | None:
    """Policy for a librdkafka error by its name (`KafkaError.name()`); None = unknown, a bug."""
    if name in _KAFKA_TRANSACTION_LOST:
        return TransactionLost
    if name in _KAFKA_TRANSIENT:
        return Transient
    if name in _KAFKA_ENVIRONMENT:
        return EnvironmentFault
    return None
