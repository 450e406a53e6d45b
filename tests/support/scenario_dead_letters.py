"""Bad raw records put into raw topics by hand, and dead letters read as an operator's tool would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from support.pace import within
from support.scenario_doubles import readable

CONNECT = "__connect.errors."
RECORD_BYTES_MAX = 8 * 1024 * 1024


class ParkedRecord(NamedTuple):
    """A dead letter: the place of its record, its kind and its message."""

    topic: str
    partition: int
    offset: int
    kind: str
    message: str
    key: bytes | None
    body: bytes | None


def dead_letters(bootstrap_servers: str, stage: str) -> list[ParkedRecord]:
    return [letter for message in readable(bootstrap_servers, [f"dlq.{stage}"]) for letter in _letter(message)]


def _letter(message: Message) -> Iterator[ParkedRecord]:
    given: Any = message.headers()
    headers = {name: (value or b"").decode() for name, value in given or ()}
    yield ParkedRecord(
        headers[f"{CONNECT}topic"],
        int(headers.get(f"{CONNECT}partition", -1)),
        int(headers.get(f"{CONNECT}offset", -1)),
        headers["sluice-kind"],
        headers[f"{CONNECT}exception.message"],
        message.key(),
        message.value(),
    )


def put(
    bootstrap_servers: str, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]
) -> tuple[str, int, int]:
    """Write one record as a foreign program would; returns its topic, partition and offset."""
    stood: list[tuple[str, int, int]] = []

    def report(error: KafkaError | None, message: Message) -> None:
        assert error is None, error.name()
        stood.append((str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))

    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "partitioner": "murmur2_random",
            "message.max.bytes": 2 * RECORD_BYTES_MAX,
        }
    )
    producer.produce(topic, value, key, headers=list(headers), on_delivery=report)
    assert producer.flush(within(30)) == 0, f"{topic}: no answer"
    return stood[0]
