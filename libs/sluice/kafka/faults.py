"""Kafka's exceptions turned into ours, with the place and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from sluice.errors import EnvironmentFault, SluiceError, TransactionLost, Transient, classify_kafka


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


@contextmanager
def admin_answers(doing: str, *excused: str) -> Iterator[None]:
    """Around a request of the admin client: its errors as ours, those named in `excused` in silence.

    Nobody who administers can go on without a broker: its silence is a fault of the environment, with a next step.
    """
    try:
        yield
    except KafkaException as error:
        name = kafka_error(error).name()
        if name in excused:
            return
        ours = translate(error, doing)
        raise _silence(doing, name) if isinstance(ours, Transient) else ours from None
    except TimeoutError:
        raise _silence(doing, "no answer in time") from None


def _silence(doing: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        doing, f"Kafka does not answer ({why})", "start it, or correct SLUICE_KAFKA__BOOTSTRAP_SERVERS"
    )


def _next_step(name: str) -> str:
    if "UNKNOWN" in name or name == "_NOENT":
        return "run `sluice topics check`, then `sluice topics apply`"
    return "check the credentials and ACLs of this client"
