"""The bare limit of a mapper in Python: one loop over confluent-kafka and msgspec, with transactions.

It keeps no state by key: no order of positions, no moves, no deletes. Argument 1: the file with the job; 2: the number
of this process.
"""

import json
import sys
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from ledger_mapping import decoder, with_provenance

BATCH = 10_000
TRANSACTION = 20_000


def new_producer(job: dict[str, Any], number: str, failed: list[KafkaError]) -> Producer:
    """A transactional producer. It appends the errors of records that were not delivered to `failed`."""
    producer = Producer(
        {
            "bootstrap.servers": job["bootstrap_servers"],
            "transactional.id": f"{job['group']}-{number}",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 2**20,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 500_000,
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _message: failed.append(error),
        }
    )
    producer.init_transactions()
    return producer


def new_consumer(job: dict[str, Any]) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": job["bootstrap_servers"],
            "group.id": job["group"],
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.min.bytes": 1,
            "queued.min.messages": 100_000,
        }
    )
    consumer.subscribe(job["inputs"])
    return consumer


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    failed: list[KafkaError] = []
    producer, consumer = new_producer(job, sys.argv[2], failed), new_consumer(job)
    output, produce = job["output"], producer.produce
    decode = decoder(job["inputs"][0])
    pending = 0
    next_offsets: dict[tuple[str, int], int] = {}
    while True:
        messages: list[Any] = consumer.consume(BATCH, 0.1)
        if messages and not pending:
            producer.begin_transaction()
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            raw = decode(message.value())
            key, value = with_provenance(message.key(), raw, message.headers(), topic, partition, offset)
            while True:
                try:
                    produce(output, value, key)
                    break
                except BufferError:
                    producer.poll(0.01)
            next_offsets[(topic, partition)] = offset + 1
        pending += len(messages)
        if pending >= TRANSACTION or (pending and not messages):
            if failed:
                raise RuntimeError(failed[0])
            offsets = [TopicPartition(*at, offset) for at, offset in next_offsets.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
            producer.commit_transaction()
            pending, next_offsets = 0, {}


main()
