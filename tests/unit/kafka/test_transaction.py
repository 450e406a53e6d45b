"""The transaction of a producer ends with its block, whatever ends the block."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluice.errors import EnvironmentFault
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings, clients
from sluice.names import Names


class Client:
    """A Kafka client that refuses records of more than 10 bytes."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def produce(self, topic: str, value: bytes, *more: Any, **rest: Any) -> None:
        if len(value) > 10:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        rest["on_delivery"](None, Delivered())

    def begin_transaction(self) -> None:
        self.calls.append("begin")

    def commit_transaction(self, timeout_s: float) -> None:
        self.calls.append("commit")

    def abort_transaction(self, timeout_s: float) -> None:
        self.calls.append("abort")

    def init_transactions(self, timeout_s: float) -> None: ...
    def list_topics(self, topic: str, timeout_s: float) -> None: ...
    def purge(self) -> None: ...


class Delivered:
    @staticmethod
    def offset() -> int:
        return 7


def test_a_refused_record_of_a_lease_aborts_its_transaction_so_that_the_next_lease_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client()
    monkeypatch.setattr(clients, "producer", lambda settings, transactional_id: client)
    producer = IngressProducer(KafkaSettings(), Names(), "ingress-0")
    producer.fence()
    with pytest.raises(EnvironmentFault, match=r"message\.max\.bytes"):
        producer.write_lease("shards", 0, b"0", {"owner": "a long name"})
    assert producer.write_lease("shards", 0, b"0", {}) == 7
    assert client.calls == ["begin", "abort", "begin", "commit"]
