"""Kafka's exceptions turned into ours, with the place and the next step."""

from __future__ import annotations

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


def _next_step(name: str) -> str:
    if "UNKNOWN" in name or name == "_NOENT":
        return "run `sluice topics check`, then `sluice topics apply`"
    return "check the credentials and ACLs of this client"
