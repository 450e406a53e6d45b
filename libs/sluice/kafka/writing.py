"""Writes records to Kafka outside a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from sluice.errors import Transient
from sluice.kafka.faults import TOO_LARGE, too_large, translate

Outgoing = tuple[str, bytes | None, bytes | None, Sequence[tuple[str, bytes]], int]
"""A record to write: topic, key, value, headers, and partition (-1: the producer chooses the partition by the key)."""


def write_all(
    producer: Producer, records: Iterable[Outgoing], doing: str, timeout_s: float, unanswered: str = "no answer"
) -> None:
    """Send `records` to Kafka and wait until all are durable, at most `timeout_s`.

    Raises EnvironmentFault if Kafka refuses a record, Transient with the text `unanswered` if Kafka does not answer in
    time. After an error no record is left in the producer's queue. `doing`: what is done, for the error text.
    """
    refused: list[KafkaError] = []
    largest: dict[str, int] = {}

    def report(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)

    try:
        for topic, key, value, headers, partition in records:
            size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
            largest[topic] = max(size, largest.get(topic, 0))
            producer.produce(topic, value, key, partition, headers=list(headers), on_delivery=report)
        waiting = producer.flush(timeout_s)
    except KafkaException as error:  # librdkafka knows the error before it sends, such as a missing topic
        producer.purge()
        raise translate(error, doing) from None
    if not (refused or waiting):
        return
    producer.purge()
    if not refused:
        raise Transient(f"{doing}: {unanswered}")
    raise too_large(doing, largest) if refused[0].name() == TOO_LARGE else translate(KafkaException(refused[0]), doing)
