"""Reading logs to their ends: the reader of Kafka and the one in memory keep the same promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from sluice.errors import Transient
from sluice.kafka import KafkaSettings, LogReader, TransactionalProducer, clients
from support.memory_log import MemoryLogs
from support.pace import within
from support.topics import make_topics
from support.waiting import eventually

Append = Callable[[list[bytes]], None]


@pytest.fixture(params=["memory", "kafka"])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[str, LogReader, Append]]:
    """A topic of one partition, its reader, and a way to append values."""
    if request.param == "memory":
        logs = MemoryLogs()

        def append(values: list[bytes]) -> None:
            for value in values:
                logs.append("log", 0, b"k", value, [])
            logs.skip("log", 0)

        yield "log", cast(LogReader, logs), append
        return
    kafka, topic = _topic(request)
    producer = TransactionalProducer(kafka, f"{topic}-writer")
    producer.fence()
    with LogReader(kafka) as reader:
        yield topic, reader, lambda values: _commit(producer, topic, values)


def _topic(request: pytest.FixtureRequest) -> tuple[KafkaSettings, str]:
    settings = KafkaSettings(bootstrap_servers=request.getfixturevalue("kafka"))
    topic = request.getfixturevalue("topic_prefix") + "log"
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    make_topics(admin, {topic: 1})
    return settings, topic


def _commit(producer: TransactionalProducer, topic: str, values: list[bytes]) -> None:
    producer.begin()
    for value in values:
        producer.produce(topic, b"k", value, partition=0)
    producer.commit()


def _open_transaction(settings: KafkaSettings, transactional_id: str, topic: str) -> Producer:
    """A producer whose transaction is open and has one record, `1`, on the broker."""
    producer = clients.producer(settings, transactional_id)
    producer.init_transactions(within(30))
    producer.begin_transaction()
    producer.produce(topic, b"1", b"k", 0)
    assert producer.flush(within(30)) == 0
    return producer


def read_all(topic: str, reader: LogReader) -> list[bytes | None]:
    return [m.value() for m in reader.read(reader.spans([(topic, 0)]), deadline_s=within(20))]


def test_an_empty_log_ends_at_once(log: tuple[str, LogReader, Append]) -> None:
    assert read_all(log[0], log[1]) == []


def test_everything_committed_is_read_and_control_records_are_passed_over(log: tuple[str, LogReader, Append]) -> None:
    topic, reader, append = log
    append([b"1", b"2"])
    append([b"3"])
    # A commit is acknowledged before its marker is in the log.
    eventually(lambda: reader.ends([(topic, 0)])[topic, 0] == 5, "three records and two markers")
    assert read_all(topic, reader) == [b"1", b"2", b"3"]


def test_a_span_is_read_from_its_start_to_before_its_end(log: tuple[str, LogReader, Append]) -> None:
    topic, reader, append = log
    append([b"1", b"2", b"3"])
    assert [m.value() for m in reader.read({(topic, 0): (1, 2)}, deadline_s=within(20))] == [b"2"]


def test_an_open_transaction_of_a_dead_owner_does_not_hide_what_was_committed_behind_it(
    request: pytest.FixtureRequest,
) -> None:
    """A dead owner's open transaction at 0 hides another's commit behind it until it times out: the end of the log is
    the high watermark, and the reader waits."""
    settings, topic = _topic(request)
    _open_transaction(settings.model_copy(update={"transaction_timeout_ms": 8_000}), f"{topic}-dead", topic)
    other = TransactionalProducer(settings, f"{topic}-other")
    other.fence()
    _commit(other, topic, [b"committed behind it"])
    with LogReader(settings) as reader:
        assert reader.ends([(topic, 0)], committed=True)[topic, 0] == 0
        with pytest.raises(Transient, match="a transaction stays open"):
            list(reader.read({(topic, 0): (0, 3)}, deadline_s=0.5))
        assert read_all(topic, reader) == [b"committed behind it"]


def test_a_reader_waits_for_a_commit_that_is_on_its_way(request: pytest.FixtureRequest) -> None:
    settings, topic = _topic(request)
    producer = _open_transaction(settings, f"{topic}-writer", topic)
    later = threading.Timer(1.0, producer.commit_transaction)
    with LogReader(settings) as reader:
        reader.ends([(topic, 0)])
        later.start()
        assert read_all(topic, reader) == [b"1"]
    later.join()


def test_clients_never_create_topics_or_reset_offsets_on_their_own() -> None:
    settings = KafkaSettings()
    config = clients.reader_config(settings, "group")
    assert config["auto.offset.reset"] == "error"
    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False
    assert config["allow.auto.create.topics"] is False
    assert config["isolation.level"] == "read_committed"
    assert config["check.crcs"] is True


def test_a_time_is_the_first_record_since_then_and_none_where_all_are_older(log: tuple[str, LogReader, Append]) -> None:
    topic, reader, append = log
    append([b"1", b"2"])
    now_ms = time.time_ns() // 1_000_000
    assert reader.at_time([(topic, 0)], now_ms - 60_000) == {(topic, 0): 0}
    assert reader.at_time([(topic, 0)], now_ms + 60_000) == {(topic, 0): -1}


def test_what_its_caller_does_between_two_records_is_no_standstill(log: tuple[str, LogReader, Append]) -> None:
    topic, reader, append = log
    append([b"1", b"2"])
    end = reader.ends([(topic, 0)])[topic, 0]
    read = []
    deadline_s = within(1.0)
    for message in reader.read({(topic, 0): (0, end)}, deadline_s=deadline_s):
        read.append(message.value())
        time.sleep(deadline_s + 0.1)  # the deadline is for the broker, not for us
    assert read == [b"1", b"2"]
