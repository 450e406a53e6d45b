"""The number of repeated records in a log, counted as any consumer reads them, without `sluice verify`.

Repeated means: one source state was published more than once with one position (raw), or a golden record was written
again with the same content (canonical).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, Message, TopicPartition

from support.pace import within

READ_WITHIN_S = 120.0


def doubled_raw(bootstrap_servers: str, topics: list[str]) -> int:
    """Readable records with the key, the position and the kind (value or tombstone) of an earlier one."""
    seen: set[tuple[object, ...]] = set()
    doubled = 0
    for message in readable(bootstrap_servers, topics):
        position = dict(message.headers() or ()).get("sluice-position")
        state = (message.topic(), message.partition(), message.key(), position, message.value() is None)
        doubled += position is not None and state in seen
        seen.add(state)
    return doubled


def doubled_canonical(bootstrap_servers: str, topics: list[str]) -> int:
    """Readable records that say what the record of that key before them said; a tombstone after a tombstone too."""
    newest: dict[tuple[object, ...], object] = {}
    doubled = 0
    for message in readable(bootstrap_servers, topics):
        key = (message.topic(), message.key())
        content = None if message.value() is None else dict(message.headers() or ()).get("sluice-content", b"")
        doubled += key in newest and newest[key] == content
        newest[key] = content
    return doubled


def readable(bootstrap_servers: str, topics: list[str]) -> Iterator[Message]:
    """Every record of `topics`, in order per partition, that is readable at read_committed now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "scenario-doubles",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        known = consumer.list_topics(timeout=within(30)).topics
        left = {(topic, number) for topic in topics for number in known[topic].partitions}
        consumer.assign([TopicPartition(topic, number, 0) for topic, number in left])
        give_up = time.monotonic() + within(READ_WITHIN_S)
        while left:
            assert time.monotonic() < give_up, f"{len(left)} partitions were not read to their end"
            for message in consumer.consume(1_000, 0.2):
                error = message.error()
                if error is None:
                    yield message
                else:
                    assert error.name() == "_PARTITION_EOF", error.name()
                    left.discard((str(message.topic()), int(message.partition() or 0)))
    finally:
        consumer.close()
