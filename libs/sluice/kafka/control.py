"""Requests of operators: records of the topic `sluice.control`. Only the newest request of each key counts.

A command of `sluice` writes a request. The stage that the request concerns reads it at its start, or polls the topic.
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
    """The newest request under `key` in the control topic `topic`, None if there is none.

    Raises Transient or EnvironmentFault if the topic cannot be read, and EnvironmentFault if Sluice did not write the
    request.
    """
    return requests_in_force(reader, topic, [key]).get(key)


def requests_in_force(reader: LogReader, topic: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The newest request of each of `keys` in the control topic `topic`. Keys without a request are left out.

    Raises Transient or EnvironmentFault if the topic cannot be read, and EnvironmentFault if Sluice did not write a
    request.
    """
    newest = newest_by_key(reader, topic)
    return {key: _read(topic, key, newest[key.encode()]) for key in keys if key.encode() in newest}


def json_object(value: bytes) -> dict[str, Any] | None:
    """The JSON object in `value`, the value of a record in one of Sluice's own topics. None if it is no JSON object:
    then another program wrote the record."""
    try:
        read = orjson.loads(value)
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _read(topic: str, key: str, value: bytes) -> dict[str, Any]:
    if (read := json_object(value)) is not None:
        return read
    why = "was not written by Sluice"
    raise EnvironmentFault(
        f"request {key} in {topic}", why, "run the request's command again: only the newest request counts"
    )


def write_request(
    settings: KafkaSettings,
    topic: str,
    key: str,
    request: Mapping[str, Any],
    within_s: float = ACKNOWLEDGED_WITHIN_S,
) -> None:
    """Write an operator's request under `key` to the control topic `topic`. Returns when the request is durable.

    Raises EnvironmentFault if Kafka refuses the request, Transient if Kafka does not answer, because then the request
    may or may not be written.
    """
    record = (topic, key.encode(), orjson.dumps(dict(request)), (), -1)
    unanswered = "no broker answers; the request may or may not be written: run the command again"
    write_all(clients.producer(settings), [record], f"writing a request to {topic}", within_s, unanswered)
