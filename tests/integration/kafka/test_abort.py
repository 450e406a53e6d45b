"""Aborting a transaction: its reason is reported even if the abort fails, and none of its records are readable.

A broker refuses an abort of librdkafka's that comes while it still writes the markers of the transaction before: it has
not taken a partition into this one yet, so there is none to abort (INVALID_TXN_STATE; librdkafka #4849).
"""

from __future__ import annotations

import pytest

from sluice.errors import EnvironmentFault, TransactionLost, Transient
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings, clients, read_to_end
from sluice.kafka.topics import Topic, Topics
from sluice.names import Names
from sluice.raw.writing import RawRecord
from support.waiting import eventually

PARTITIONS = 30  # so many markers take the broker a moment
GIVEN_UP = 3_000


def test_a_refused_abort_hides_nothing_and_the_next_fence_goes_on(kafka: str, topic_prefix: str) -> None:
    # What this client may send is less than the last record of a batch that is given up.
    settings = KafkaSettings(bootstrap_servers=kafka, options={"message.max.bytes": "100000"})
    topic, names = f"{topic_prefix}out", Names(topic_prefix)
    Topics(clients.admin(settings)).apply([Topic(topic, PARTITIONS, {}), Topic(names.watermarks, 1, {})])
    ingress = IngressProducer(settings, names, names.transactional_id("ingress", 0))
    ingress.fence()
    kept = [RawRecord(topic, b"k", b"kept", [], n) for n in range(PARTITIONS)]
    given_up = [RawRecord(topic, b"k", b"given up", [], n % PARTITIONS) for n in range(GIVEN_UP)]
    given_up.append(RawRecord(topic, b"k", bytes(200_000), [], 0))
    published = 0

    def give_up() -> None:
        try:
            ingress.publish(given_up, {})
        except Transient as hiding:
            pytest.fail(f"why it was given up is hidden by {hiding}")

    def refused() -> bool:
        nonlocal published
        try:
            ingress.publish(kept, {})
        except TransactionLost as lost:
            return "not fenced yet" in str(lost)  # the client was thrown away when its abort was refused
        published += 1
        with pytest.raises(EnvironmentFault, match=r"message\.max\.bytes"):
            give_up()
        return False

    eventually(refused, "the broker to refuse an abort", 120)
    ingress.fence()
    ingress.publish(kept, {})
    ingress.close()
    values = [message.value() for message in read_to_end(settings, topic, dict.fromkeys(range(PARTITIONS), 0))]
    assert values == [b"kept"] * (published + 1) * PARTITIONS
