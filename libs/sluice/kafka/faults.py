"""Kafka's exceptions translated into ours, with place and next step. `sluice.error_policies` has the policy of each
code."""

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
# The answers of Kafka and librdkafka if a topic that is written to does not exist.
TOPIC_MISSING = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"})
_TOOK = re.compile(r" *\([^()]*\b\d+ ?m?s\b[^()]*\)")


def kafka_error(exception: KafkaException) -> KafkaError:
    """The KafkaError inside `exception`."""
    error: KafkaError = exception.args[0]
    return error


def translate(exception: KafkaException, doing: str) -> Exception:
    """Our error for `exception`; `doing` names action and place. UnknownCode where the table has no policy for it."""
    error = kafka_error(exception)
    name = error.name()
    policy: type[SluiceError] | None = TransactionLost if error.fatal() else classify_kafka(name)
    if policy is None and error.retriable():  # a newer code, which librdkafka calls retriable
        policy = Transient
    if policy is TransactionLost:
        return TransactionLost(f"{doing}: {name}")
    if policy is Transient:
        return Transient(f"{doing}: {name}")
    if policy is EnvironmentFault:
        return EnvironmentFault(doing, f"Kafka says {name}{_clock(name)}", kafka_next_step(name))
    # The text of librdkafka's table, because that of the exception may quote a setting.
    answer = f"Kafka says {name} ({error.code()}, {KafkaError(error.code()).str()})"
    reason = f", which {KAFKA_STOPS[name]}" if name in KAFKA_STOPS else ", a code that Sluice does not know"
    return UnknownCode(
        doing,
        answer + reason,
        "start it again: it goes on from what is durable. If this returns, read the brokers' logs of this time, and "
        "report this line",
    )


def steady(text: str) -> str:
    """librdkafka's `text` without durations: a fault whose text changes with each attempt would be a new fault."""
    return _TOOK.sub("", text)


def topic_missing(topic: str) -> EnvironmentFault:
    """The one fault for a missing topic, whichever code Kafka answered."""
    return EnvironmentFault(f"topic {topic}", "does not exist", "run `sluice topics apply`")


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Translates what confluent_kafka raises within; `doing` names action and place."""
    try:
        yield
    except KafkaException as error:
        raise translate(error, doing) from None


def _clock(name: str) -> str:
    if name != WRONG_TIME:
        return ""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return (
        f": this host's clock says {now}, and the broker takes no record that is further from its own clock than "
        "message.timestamp.after.max.ms (ahead; an hour by default) and message.timestamp.before.max.ms (behind)"
    )


def too_large(doing: str, largest: Mapping[str, int]) -> EnvironmentFault:
    """The fault if a broker refuses a record whose size the declared limits of our topics allow. `largest`: bytes of
    the largest record, by topic."""
    sizes = ", ".join(f"{topic} {size} bytes" for topic, size in sorted(largest.items(), key=lambda of: -of[1]))
    return EnvironmentFault(
        doing,
        f"a record is more than its topic's max.message.bytes; the largest of each: {sizes}",
        "run `sluice topics check`, then `sluice topics apply`, which sets max.message.bytes as it is declared",
    )


ANSWER_GRACE_S = 5.0
"""A caller waits this much longer than the request's time-out, because librdkafka reports the time-out a moment
late."""


@contextmanager
def admin_answer(doing: str, *excused: str) -> Iterator[None]:
    """Around a wait for the admin client's answer: translates errors, and suppresses those named in `excused`.

    An operator's command cannot go on without a broker, so its silence is an EnvironmentFault with a next step.
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
        "start it (embedded: `sluice dev up`), or correct SLUICE_KAFKA__BOOTSTRAP_SERVERS",
    )
