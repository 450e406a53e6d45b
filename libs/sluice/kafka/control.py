"""Operators' requests: records of `sluice.control`, of which the newest under a key is in force.

A command writes one; the stage that it concerns reads it when it starts, or looks again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.faults import translate

ACKNOWLEDGED_WITHIN_S = 15.0


def request_in_force(reader: LogReader, topic: str, key: str) -> dict[str, Any] | None:
    """The newest request under `key` in the control `topic`. Raises Transient or EnvironmentFault."""
    return requests_in_force(reader, topic, [key]).get(key)


def requests_in_force(reader: LogReader, topic: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The newest request under each of `keys` that has one. Raises Transient or EnvironmentFault."""
    at = (topic, 0)
    span = (reader.beginnings([at])[at], reader.ends([at])[at])
    wanted = {key.encode(): key for key in keys}
    newest: dict[str, bytes | None] = {}
    for message in reader.read({at: span}):
        if (key := message.key()) in wanted:
            newest[wanted[key]] = message.value()
    return {key: _read(topic, key, value) for key, value in newest.items() if value}


def json_object(value: bytes) -> dict[str, Any] | None:
    """What a record of our own topics holds; None where somebody else wrote it."""
    try:
        read = orjson.loads(value)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _read(topic: str, key: str, value: bytes) -> dict[str, Any]:
    if (read := json_object(value)) is not None:
        return read
    why = "is not a request of ours: somebody else wrote to that topic"
    raise EnvironmentFault(f"request {key} in {topic}", why, "run the command that makes it again: the newest counts")


def write_request(
    settings: KafkaSettings,
    topic: str,
    key: str,
    request: Mapping[str, Any],
    within_s: float = ACKNOWLEDGED_WITHIN_S,
) -> None:
    """Write the newest request under `key`; returns when it is durable.

    Raises EnvironmentFault when Kafka refuses it, Transient when it is not known to be written.
    """
    refused: list[KafkaError] = []

    def report(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = clients.producer(settings)
    doing = f"writing a request to {topic}"
    try:
        producer.produce(topic, orjson.dumps(dict(request)), key.encode(), on_delivery=report)
        unanswered = producer.flush(within_s)
    except KafkaException as error:
        raise translate(error, doing) from None
    if refused:
        raise translate(KafkaException(refused[0]), doing)
    if unanswered:
        raise Transient(f"{doing}: no broker answers; it may or may not be written: run the command again")
