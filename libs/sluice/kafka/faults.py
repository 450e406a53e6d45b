"""Translates Kafka's exceptions into the errors of Sluice, which name the place and the next step.
`sluice.error_policies` says which code of Kafka becomes which error."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from sluice.error_policies import KAFKA_STOPS, classify_kafka, kafka_next_step
from sluice.errors import EnvironmentFault, SluiceError, TransactionLost, Transient, UnknownCode

TOO_LARGE = "MSG_SIZE_TOO_LARGE"
WRONG_TIME = "INVALID_TIMESTAMP"
# The codes of Kafka and librdkafka for a topic that does not exist.
TOPIC_MISSING = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"})
_TOOK = re.compile(r" *\([^()]*\b\d+ ?m?s\b[^()]*\)")


def kafka_error(exception: KafkaException) -> KafkaError:
    """The KafkaError inside a KafkaException: the code, its text, and whether a repetition can help."""
    error: KafkaError = exception.args[0]
    return error


def translate(exception: KafkaException, doing: str) -> Exception:
    """The error of Sluice for Kafka's `exception`. `doing`: what was done, and where, for the error text. The result is
    UnknownCode if `sluice.error_policies` has no error for Kafka's code."""
    error = kafka_error(exception)
    name = error.name()
    policy: type[SluiceError] | None = TransactionLost if error.fatal() else classify_kafka(name)
    if policy is None and error.retriable():  # a code newer than our table, retriable as librdkafka says
        policy = Transient
    if policy is TransactionLost:
        return TransactionLost(f"{doing}: {name}")
    if policy is Transient:
        return Transient(f"{doing}: {name}")
    if policy is EnvironmentFault:
        return EnvironmentFault(doing, f"Kafka says {name}{_clock(name)}", kafka_next_step(name))
    # Show librdkafka's general text of the code. The text of the exception may quote a setting, such as a password.
    answer = f"Kafka says {name} ({error.code()}, {KafkaError(error.code()).str()})"
    reason = f", which {KAFKA_STOPS[name]}" if name in KAFKA_STOPS else ", a code that Sluice does not know"
    return UnknownCode(
        doing,
        answer + reason,
        "start the process again: it continues from what is durable. If this error returns, read the brokers' logs of "
        "this time, and report this line",
    )


def steady(text: str) -> str:
    """The text of a librdkafka error without the durations in it. A fault whose text changes with each attempt would be
    reported as a new fault each time."""
    return _TOOK.sub("", text)


def topic_missing(topic: str) -> EnvironmentFault:
    """The fault for a topic that does not exist: always the same one, although Kafka has several codes for this."""
    return EnvironmentFault(f"topic {topic}", "does not exist", "run `sluice topics apply`")


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Within this context, exceptions of confluent_kafka become errors of Sluice. `doing`: what is done, and where, for
    the error text."""
    try:
        yield
    except KafkaException as error:
        raise translate(error, doing) from None


def _clock(name: str) -> str:
    if name != WRONG_TIME:
        return ""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return (
        f": this host's clock says {now}, and the broker accepts no record whose time differs from its own "
        "clock by more than message.timestamp.after.max.ms (ahead; an hour by default) or "
        "message.timestamp.before.max.ms (behind)"
    )


def too_large(doing: str, largest: Mapping[str, int]) -> EnvironmentFault:
    """The fault if the broker refuses a record as too large, although Sluice's declared limit of the topic allows its
    size. `largest`: topic → bytes of the largest record sent."""
    sizes = ", ".join(f"{topic} {size} bytes" for topic, size in sorted(largest.items(), key=lambda of: -of[1]))
    return EnvironmentFault(
        doing,
        f"a record is larger than max.message.bytes of its topic; the largest record by topic: {sizes}",
        "run `sluice topics check`, then `sluice topics apply`, which sets max.message.bytes to the declared value",
    )


ANSWER_GRACE_S = 5.0
"""A caller waits this much longer for an answer than the time-out of its request to Kafka, because librdkafka reports
a time-out a moment late."""


@contextmanager
def admin_answer(doing: str, *excused: str) -> Iterator[None]:
    """Around a wait for an answer of Kafka's admin API: errors of Kafka become errors of Sluice. Kafka's codes in
    `excused` are suppressed.

    If no broker answers, it raises EnvironmentFault, because an operator's command cannot go on without Kafka.
    """
    try:
        yield
    except TimeoutError:
        raise _silence(doing, "no answer in time") from None
    except KafkaException as error:
        name = kafka_error(error).name()
        if name not in excused:
            ours = translate(error, doing)
            raise _silence(doing, name) if isinstance(ours, Transient) else ours from None


def _silence(doing: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        doing,
        f"Kafka does not answer ({why})",
        "start Kafka (embedded: `sluice dev up`), or correct SLUICE_KAFKA__BOOTSTRAP_SERVERS",
    )
