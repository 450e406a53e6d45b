"""What a consumer fetches ahead: little of a long backlog, however well it is compressed, and any record whole."""

from __future__ import annotations

import os
import time
from contextlib import closing

import psutil
from confluent_kafka import Consumer, Message, TopicPartition

from sluice.kafka import KafkaSettings, clients
from sluice.kafka.topics import Topic, Topics
from support.waiting import eventually

MIB = 1024 * 1024
RECORDS = 100_000  # 100 MB, and 10 MB when compressed
GROWTH_MAX = 48 * MIB
SETTLED_AFTER_S = 1.0


def rss() -> int:
    return int(psutil.Process().memory_info().rss)


def settled_rss() -> int:
    """The memory of this process when it has not grown for a second."""
    largest, since = rss(), time.monotonic()
    while time.monotonic() < since + SETTLED_AFTER_S:
        if (now := rss()) > largest + MIB:
            largest, since = now, time.monotonic()
        time.sleep(0.05)
    return largest


def fill(settings: KafkaSettings, topic: str) -> None:
    producer = clients.producer(settings)
    for _ in range(RECORDS // 10_000):
        for _ in range(10_000):
            producer.produce(topic, os.urandom(50) * 20, partition=0)
        assert producer.flush(60) == 0


def next_record(consumer: Consumer) -> Message:
    found: list[Message] = []

    def read() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            found.append(message)
        return bool(found)

    eventually(read)
    return found[0]


def test_a_consumer_keeps_little_of_a_compressed_backlog_in_memory(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, options={"compression.type": "zstd"})
    topic = f"{topic_prefix}backlog"
    Topics(clients.admin(settings)).apply([Topic(topic, 1, {})])
    fill(settings, topic)
    with closing(clients.log_consumer(settings)) as consumer:
        before = rss()
        consumer.assign([TopicPartition(topic, 0, 0)])
        assert next_record(consumer).offset() == 0
        assert settled_rss() - before < GROWTH_MAX


def test_a_record_that_is_larger_than_a_fetch_is_read_whole(kafka: str, topic_prefix: str) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka, options={"compression.type": "none"})
    topic = f"{topic_prefix}large"
    Topics(clients.admin(settings)).apply([Topic(topic, 2, {"max.message.bytes": str(clients.MESSAGE_BYTES_MAX)})])
    large = os.urandom(15 * MIB)
    producer = clients.producer(settings)
    for partition in (0, 1):
        for value in (b"small", large, b"small"):
            producer.produce(topic, value, partition=partition)
    assert producer.flush(60) == 0
    with closing(clients.log_consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in (0, 1)])
        read = [next_record(consumer) for _ in range(6)]
    for partition in (0, 1):
        assert [m.value() for m in read if m.partition() == partition] == [b"small", large, b"small"]
