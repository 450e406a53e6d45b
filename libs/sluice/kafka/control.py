"""Operators' requests: records of `sluice.control`. The newest request under a key is in force.

A command writes a request. The stage that it concerns reads it at its start, or polls for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import newest_by_key
from sluice.kafka.writing import write_all

ACKNOWLEDGED_WITHIN_S = 15.0


def request_in_force(reader: LogReader, topic: str, key: str) -> dict[str, Any] | None:
    """The newest request under `key` in the control `topic`. Raises Transient or EnvironmentFault."""
    return requests_in_force(reader, topic, [key]).get(key)


def requests_in_force(reader: LogReader, topic: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The newest request under each of `keys` that has one. Raises Transient or EnvironmentFault."""
    newest = newest_by_key(reader, topic)
    return {key: _read(topic, key, newest[key.encode()]) for key in keys if key.encode() in newest}


def json_object(value: bytes) -> dict[str, Any] | None:
    """The value of a record in one of our own topics; None where it is no JSON object, so that Sluice did not write
    it."""
    try:
        read = orjson.loads(value)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _read(topic: str, key: str, value: bytes) -> dict[str, Any]:
    if (read := json_object(value)) is not None:
        return read
    why = "was not written by Sluice"
    raise EnvironmentFault(f"request {key} in {topic}", why, "run its command again: the newest request counts")


def write_request(
    settings: KafkaSettings,
    topic: str,
    key: str,
    request: Mapping[str, Any],
    within_s: float = ACKNOWLEDGED_WITHIN_S,
) -> None:
    """Write a request under `key`; returns when it is durable.

    Raises EnvironmentFault if Kafka refuses it, Transient if it is not known whether it was written.
    """
    record = (topic, key.encode(), orjson.dumps(dict(request)), (), -1)
    unanswered = "no broker answers; it may or may not be written: run the command again"
    write_all(clients.producer(settings), [record], f"writing a request to {topic}", within_s, unanswered)
