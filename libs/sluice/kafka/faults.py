"""Kafka's exceptions turned into ours, with the place and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from confluent_kafka import KafkaError, KafkaException

from sluice.errors import EnvironmentFault, SluiceError, TransactionLost, Transient, classify_kafka

TOO_LARGE = "MSG_SIZE_TOO_LARGE"


def kafka_error(exception: KafkaException) -> KafkaError:
    """The KafkaError inside `exception`."""
    error: KafkaError = exception.args[0]
    return error


def translate(exception: KafkaException, doing: str) -> Exception:
    """Our error for `exception`, met while `doing` something; an unknown one is returned as it is: a bug."""
    error = kafka_error(exception)
    name = error.name()
    policy: type[SluiceError] | None = classify_kafka(name)
    if error.fatal():
        policy = TransactionLost
    if policy is TransactionLost:
        return TransactionLost(f"{doing}: {name}")
    if policy is Transient:
        return Transient(f"{doing}: {name}")
    if policy is EnvironmentFault:
        return EnvironmentFault(doing, f"Kafka says {name}", _next_step(name))
    return exception


def too_large(doing: str, largest: Mapping[str, int]) -> EnvironmentFault:
    """A broker takes less than our topics are declared to take. `largest`: bytes of the largest record, by topic."""
    sizes = ", ".join(f"{topic} {size} bytes" for topic, size in sorted(largest.items(), key=lambda of: -of[1]))
    return EnvironmentFault(
        doing,
        f"a record is more than its topic's max.message.bytes; the largest of each: {sizes}",
        "run `sluice topics check`, then `sluice topics apply`, which sets max.message.bytes as it is declared",
    )


class AdminAnswer:
    """Around a wait for the admin client: its errors as ours, those named in `excused` in silence.

    Nobody who administers can go on without a broker: its silence is a fault of the environment, with a next step.
    """

    def __init__(self, doing: str, *excused: str) -> None:
        self._doing = doing
        self._excused = excused

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, TimeoutError):
            raise _silence(self._doing, "no answer in time") from None
        if not isinstance(error, KafkaException):
            return False
        name = kafka_error(error).name()
        if name in self._excused:
            return True
        ours = translate(error, self._doing)
        raise _silence(self._doing, name) if isinstance(ours, Transient) else ours from None


def _silence(doing: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        doing, f"Kafka does not answer ({why})", "start it, or correct SLUICE_KAFKA__BOOTSTRAP_SERVERS"
    )


def _next_step(name: str) -> str:
    if "UNKNOWN" in name or name == "_NOENT":
        return "run `sluice topics check`, then `sluice topics apply`"
    return "check the credentials and ACLs of this client"
