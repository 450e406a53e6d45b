"""Two producers of one transactional id: the first one raises an error that names the id."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient

from sluice.errors import Fenced
from sluice.kafka import KafkaSettings, TransactionalProducer
from support.topics import make_topics


def test_a_producer_whose_id_was_taken_over_says_so_and_nothing_of_it_is_kept(kafka: str, topic_prefix: str) -> None:
    topic, admin = f"{topic_prefix}out", AdminClient({"bootstrap.servers": kafka})
    make_topics(admin, {topic: 1})
    settings = KafkaSettings(bootstrap_servers=kafka)
    first, second = (TransactionalProducer(settings, f"{topic_prefix}stage-0") for _ in range(2))
    first.fence()
    first.begin()
    first.produce(topic, b"k", b"v")
    second.fence()
    with pytest.raises(Fenced) as lost:
        first.commit()
    assert lost.value.transactional_id == f"{topic_prefix}stage-0"
    second.discard()
