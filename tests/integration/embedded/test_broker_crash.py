"""A crash of the broker must not lose the markers of transactions whose end the broker has promised.

Kafka 4.3.0 and 4.3.1 treat a partition without a leader as deleted and skip its markers (KAFKA-20734). A single broker
that restarts within its own session has such a partition for a moment. Its read_committed readers then stop there for
ever.
"""

from __future__ import annotations

import threading

from confluent_kafka import KafkaException, Producer

from sluice.embedded import Servers
from sluice.kafka import KafkaSettings, clients, read_to_end
from support.pace import within
from support.servers import kill
from support.topics import make_topics

PRODUCERS = 12
TOPIC = "crash"


def test_transactions_that_a_crash_cut_short_are_ended_after_it(own_broker: Servers) -> None:
    settings = KafkaSettings(bootstrap_servers=own_broker.kafka.bootstrap_servers)
    admin = clients.admin(settings)
    make_topics(admin, {TOPIC: PRODUCERS})
    producers = [fenced(settings, number) for number in range(PRODUCERS)]
    for number, producer in enumerate(producers):
        producer.begin_transaction()
        for partition in range(PRODUCERS):
            producer.produce(TOPIC, b"%d" % number, partition=partition)
        producer.flush(within(30))
    committed: list[int] = []
    first = threading.Event()

    def commit(number: int) -> None:
        try:
            producers[number].commit_transaction(within(30))
            committed.append(number)
        except KafkaException:
            pass  # its outcome is not known, as it may be
        finally:
            first.set()

    commits = [threading.Thread(target=commit, args=(number,)) for number in range(PRODUCERS)]
    for thread in commits:
        thread.start()
    assert first.wait(within(30))
    kill(own_broker, "kafka")  # some ends are promised, and their markers not written yet
    promised = set(committed)
    own_broker.restart("kafka")
    for thread in commits:
        thread.join(within(60))
    for number in range(PRODUCERS):
        fenced(settings, number)
    read = [
        (m.partition(), int(m.value() or b"")) for m in read_to_end(settings, TOPIC, dict.fromkeys(range(PRODUCERS), 0))
    ]
    assert promised
    for number in promised | {number for _, number in read}:
        # All of a transaction or nothing of it; never nothing of one that was acknowledged.
        assert sorted(p or 0 for p, n in read if n == number) == list(range(PRODUCERS))


def fenced(settings: KafkaSettings, number: int) -> Producer:
    producer = clients.producer(settings, f"crash-{number}")
    producer.init_transactions(within(60))
    return producer
