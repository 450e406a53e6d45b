"""A host with a wrong clock: Kafka refuses the records because of their time. Each producer reports the clock and the
next step. No record is lost, and the stage continues by itself after the clock is fixed.

Here a topic refuses a record because its limit is so narrow that this host's clock is too far behind, or because the
record has the time of a clock that is two hours ahead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from sluice.connector import Response
from sluice.connector.messages import Request
from sluice.errors import DeadRecord, EnvironmentFault
from sluice.ingress.producer import IngressProducer
from sluice.kafka import TransactionalProducer, read_to_end
from sluice.kafka.control import write_request
from sluice.kafka.record import Record
from sluice.raw.writing import RawRecord
from sluice.stage.batch import Batch
from sluice.stage.commit import DirectDelivery
from sluice.stage.group import GroupReader
from sluice.telemetry.health import STARTING
from sluice_ingress_poller.page import Item
from sluice_ingress_poller.records import RecordBuilder, StoredResponse, StreamNames
from support.echo_stage import EchoBench, NoWriter, Running
from support.topics import set_config
from support.waiting import eventually

BEHIND = "message.timestamp.before.max.ms"
AHEAD_MS = 2 * 3_600_000


def assert_names_the_clock(why: str, topic: str) -> None:
    assert topic in why
    assert "INVALID_TIMESTAMP: this host's clock says 20" in why
    assert "message.timestamp.after.max.ms" in why
    assert "NTP" in why


def test_a_stage_whose_clock_is_ahead_says_so_and_resumes_by_itself(
    bench: EchoBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of the topic is not used here, because it also refuses the markers of the transaction, for ever."""
    produce = TransactionalProducer.produce

    def ahead(producer: TransactionalProducer, topic: str, key: Any, value: Any, *more: Any, **rest: Any) -> None:
        produce(producer, topic, key, value, *more, **{**rest, "timestamp_ms": int(time.time() * 1000) + AHEAD_MS})

    monkeypatch.setattr(TransactionalProducer, "produce", ahead)
    bench.feed(b"1", b"2")
    stage, _ = bench.stage()
    with Running(stage) as running:
        why = eventually(
            lambda: " ".join(why for why in bench.healths[-1].faults.values() if why != STARTING), "the fault"
        )
        assert_names_the_clock(why, "[0]")
        monkeypatch.undo()
        eventually(lambda: bench.committed() == 2, "everything is done")
        eventually(lambda: not bench.healths[-1].faults, "no fault is left")
        assert running.error is None
    assert bench.visible(bench.out) == [b"1", b"2"]
    assert bench.visible(bench.names.dlq("echo")) == []


def test_ingress_whose_clock_is_ahead_says_so_and_its_records_arrive_after_the_clock_is_set(bench: EchoBench) -> None:
    ingress = IngressProducer(bench.kafka, bench.names, bench.names.transactional_id("ingress", 0))
    ingress.fence()
    records = [RawRecord(bench.out, b"k", b"%d" % n, [], 0) for n in range(3)]
    ahead = time.time_ns() // 1_000_000 + AHEAD_MS
    with pytest.raises(EnvironmentFault) as fault:
        ingress.publish([*records, RawRecord(bench.out, b"k", b"3", [], 0, ahead)], {})
    assert_names_the_clock(str(fault.value), f"{bench.out} [0]")
    assert bench.visible(bench.out) == []
    ingress.fence()
    ingress.publish(records, {})
    assert bench.visible(bench.out) == [b"0", b"1", b"2"]
    ingress.close()


class FailsLate(TransactionalProducer):
    """Commits only after the broker has refused the record. The error then is about the transaction's state."""

    def commit(self, offsets: Sequence[TopicPartition] = (), group: Any = None) -> None:
        def refused(client: Producer, left_s: float) -> None:
            client.flush(left_s)
            raise KafkaException(KafkaError(KafkaError._STATE, "Operation not valid", False, False, True))

        self._retrying("sending offsets", refused)


def test_a_call_in_a_failed_transaction_names_the_first_cause(bench: EchoBench) -> None:
    """If a record is refused while offsets are sent, these are refused with `_STATE`, which does not say why."""
    producer = FailsLate(bench.kafka, f"{bench.out}-producer")
    producer.fence()
    producer.begin()
    producer.produce(bench.out, b"k", b"v", partition=0, timestamp_ms=time.time_ns() // 1_000_000 + AHEAD_MS)
    with pytest.raises(EnvironmentFault) as fault:
        producer.commit()
    assert_names_the_clock(str(fault.value), f"{bench.out} [0]")
    producer.discard()
    assert bench.visible(bench.out) == []


def test_a_record_whose_source_has_a_clock_that_is_ahead_arrives_and_its_time_is_in_the_headers(
    bench: EchoBench,
) -> None:
    ingress = IngressProducer(bench.kafka, bench.names, bench.names.transactional_id("ingress", 0))
    ingress.fence()
    fetched = StoredResponse.now(Response(Request.get("/things"), 200, {}, b"[]"), time.time_ns() // 1_000_000)
    streams = StreamNames("shop", "crm", "things", bench.out, bench.out, bench.out)
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    items = [Item(b"%d" % n, b"%d" % n, None, changed) for n, changed in enumerate([None, in_two_days, None])]
    maker = RecordBuilder(streams, 1, 42, frozenset)
    ingress.publish([maker.upsert(item, fetched) for item in items], {})
    assert bench.visible(bench.out) == [b"0", b"1", b"2"]
    assert headers_in(bench, bench.out)[1]["ce_time"].decode().startswith(f"{in_two_days:%Y-%m-%dT%H:%M}")
    ingress.close()


def headers_in(bench: EchoBench, topic: str) -> list[dict[str, bytes]]:
    found: list[dict[str, bytes]] = []
    for message in read_to_end(bench.kafka, topic, {0: 0}):
        headers: Any = message.headers() or ()
        found.append(dict(headers))
    return found


def test_a_dead_letter_that_is_refused_by_its_time_is_a_fault_and_nothing_is_committed(
    bench: EchoBench,
) -> None:
    dlq = bench.names.dlq("echo")
    set_config(bench.admin, dlq, BEHIND, "0")
    batch = Batch("echo", dlq, 1 << 30, 60.0)
    batch.park(Record(bench.topic, 0, 0, b"k", b"v", {}, 1_000), DeadRecord("requested", "the test says so"))
    delivery = DirectDelivery(bench.kafka, dlq, NoWriter())
    delivery.open()
    reader = GroupReader(bench.kafka, bench.group, "0", {bench.topic: "id"})
    delivery.deliver(batch, [], reader)
    with pytest.raises(EnvironmentFault) as fault:
        delivery.finish()
    assert_names_the_clock(str(fault.value), dlq)
    delivery.close()


def test_a_request_that_is_refused_by_its_time_is_a_fault(bench: EchoBench) -> None:
    control = bench.names.control
    set_config(bench.admin, control, BEHIND, "0")
    with pytest.raises(EnvironmentFault) as fault:
        write_request(bench.kafka, control, "cdc/erp", {"v": 1})
    assert_names_the_clock(str(fault.value), control)
