"""A record that a broker refuses for its size is no dead letter: a setting differs from its declaration."""

from __future__ import annotations

import os

import pytest

from sluice.errors import DeadRecord, EnvironmentFault
from sluice.kafka import KafkaSettings
from sluice.kafka.record import Record
from sluice.stage.batch import Batch
from sluice.stage.commit import DirectDelivery
from sluice.stage.group import GroupReader
from sluice.telemetry.health import STARTING
from support.echo_stage import EchoBench, NoWriter, Running
from support.topics import set_config
from support.waiting import eventually

LIMIT = "max.message.bytes"
LARGE = os.urandom(50_000)  # random, because a broker measures the compressed size


def faults_of(bench: EchoBench) -> str:
    return " ".join(why for why in bench.healths[-1].faults.values() if why != STARTING)


def test_a_topic_that_takes_less_than_is_declared_is_named_and_all_records_arrive_after_it_is_fixed(
    bench: EchoBench,
) -> None:
    set_config(bench.admin, bench.out, LIMIT, "10000")
    bench.feed(b"1", LARGE, b"2")
    stage, _ = bench.stage()
    with Running(stage) as running:
        why = eventually(lambda: faults_of(bench), "the fault")
        assert f"{bench.out} 50001 bytes" in why
        assert "max.message.bytes" in why
        assert "sluice topics apply" in why
        set_config(bench.admin, bench.out, LIMIT, "1000000")
        eventually(lambda: bench.committed() == 3, "everything is done")
        eventually(lambda: not bench.healths[-1].faults, "no fault is left")
        assert running.error is None
    assert bench.visible(bench.out) == [b"1", LARGE, b"2"]
    assert bench.visible(bench.names.dlq("echo")) == []


def test_a_client_with_a_lower_limit_names_the_setting(bench: EchoBench, kafka: str) -> None:
    bench.feed(LARGE)
    bench.kafka = KafkaSettings(bootstrap_servers=kafka, options={"message.max.bytes": "10000"})
    stage, _ = bench.stage()
    with Running(stage) as running:
        why = eventually(lambda: faults_of(bench), "the fault")
        assert running.error is None
    assert f"producing to {bench.out}: a record of 50001 bytes" in why
    assert "SLUICE_KAFKA__OPTIONS" in why


def test_a_dead_letter_that_its_topic_does_not_take_is_named_and_nothing_is_committed(
    bench: EchoBench,
) -> None:
    dlq = bench.names.dlq("echo")
    set_config(bench.admin, dlq, LIMIT, "10000")
    batch = Batch("echo", dlq, 1 << 30, 60.0)
    batch.park(Record(bench.topic, 0, 0, b"k", LARGE, {}, 1_000), DeadRecord("requested", "the test says so"))
    delivery = DirectDelivery(bench.kafka, dlq, NoWriter())
    delivery.open()
    reader = GroupReader(bench.kafka, bench.group, "0", {bench.topic: "id"})
    delivery.deliver(batch, [], reader)
    with pytest.raises(EnvironmentFault, match=r"max\.message\.bytes") as fault:
        delivery.finish()
    assert dlq in fault.value.where
    delivery.close()
