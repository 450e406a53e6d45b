"""The loop on real Kafka: what is durable when, and what happens after a fence, an end, or a moved group."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, closing

import orjson
import pytest
from confluent_kafka import TopicPartition

from sluice.kafka import TransactionalProducer, clients
from sluice.telemetry.fault_writer import FaultWriter
from support.echo_stage import EchoBench, Running
from support.pace import within
from support.waiting import eventually


def test_a_new_group_starts_at_the_first_offset_and_reads_all_existing_records(bench: EchoBench) -> None:
    bench.feed(b"1", b"2", b"3")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.visible(bench.out) == [b"1", b"2", b"3"])


def test_outputs_offsets_and_ledger_are_one_transaction(bench: EchoBench) -> None:
    bench.feed(b"1", b"die", b"2")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 3)
    lines = [orjson.loads(line or b"") for line in bench.visible(bench.names.ledger)]
    assert lines[0]["from"] == 0
    assert lines[-1]["to"] == 3
    assert sum(line["visible"] for line in lines) == 3
    assert (sum(line["mapped"] for line in lines), sum(line["dead"] for line in lines)) == (2, 1)


def test_a_dead_letter_is_durable_with_the_offset_after_it_and_the_stage_continues(bench: EchoBench) -> None:
    bench.feed(b"1", b"die", b"2")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 3)
    assert bench.visible(bench.names.dlq("echo")) == [b"die"]
    assert bench.visible(bench.out) == [b"1", b"2"]


def test_a_record_with_a_transient_error_is_handled_again_and_no_output_is_doubled(bench: EchoBench) -> None:
    bench.feed(b"1", b"later", b"2")
    stage, echo = bench.stage()
    with Running(stage):
        eventually(lambda: bench.visible(bench.out) == [b"1", b"later", b"2"])
    assert echo.handled.count(1) == 2


def test_a_restart_continues_where_the_last_transaction_ended(bench: EchoBench) -> None:
    bench.feed(b"1", b"2")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 2)
    bench.feed(b"3")
    again, echo = bench.stage()
    with Running(again):
        eventually(lambda: bench.visible(bench.out) == [b"1", b"2", b"3"])
    assert echo.handled == [2]


def test_a_producer_fenced_in_mid_flight_is_replaced_and_nothing_is_lost_or_doubled(bench: EchoBench) -> None:
    """Another client takes the transactional id, as after a stall of this process."""
    stage, _ = bench.stage()
    with Running(stage) as running:
        bench.feed(b"1")
        eventually(lambda: bench.visible(bench.out) == [b"1"])
        thief = TransactionalProducer(bench.kafka, bench.names.transactional_id("echo", "0"))
        thief.fence()
        thief.discard()
        bench.feed(b"2", b"3")
        eventually(lambda: bench.visible(bench.out) == [b"1", b"2", b"3"])
        assert running.error is None


def test_an_owner_that_lost_its_partition_cannot_commit_its_open_transaction(bench: EchoBench) -> None:
    """A zombie that read records, stalled, and continues with the group's old generation."""
    bench.feed(b"1")
    zombie_group = clients.group_consumer(bench.kafka, bench.group, "zombie")
    zombie_group.subscribe([bench.topic])
    eventually(lambda: bool(zombie_group.assignment()) or bool(zombie_group.consume(1, 0.1)))
    old_generation = zombie_group.consumer_group_metadata()
    zombie = TransactionalProducer(bench.kafka, bench.names.transactional_id("echo", "zombie"))
    zombie.fence()
    zombie_group.close()
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.visible(bench.out) == [b"1"])
        zombie.begin()
        zombie.produce(bench.out, b"k", b"from a zombie", partition=0)
        with pytest.raises(Exception, match="sending offsets"):
            zombie.commit([TopicPartition(bench.topic, 0, 0)], old_generation)
        bench.feed(b"2")
        eventually(lambda: bench.visible(bench.out) == [b"1", b"2"])


def test_a_partition_that_moves_to_another_member_under_load_is_read_once(bench: EchoBench) -> None:
    """Two members, one partition: one member leaves while records arrive, the other continues."""
    values = [b"%d" % number for number in range(600)]
    first, first_echo = bench.stage("0")
    second, second_echo = bench.stage("1")
    with ExitStack() as leaving:
        leaving.enter_context(Running(first))
        bench.feed(*values[:50])
        eventually(lambda: bool(first_echo.handled))
        with Running(second):
            for start in range(50, 400, 50):
                bench.feed(*values[start : start + 50])
            leaving.close()
            bench.feed(*values[400:])
            eventually(lambda: len(bench.visible(bench.out)) >= 600)
    assert bench.visible(bench.out) == values
    assert second_echo.handled[-1] == 599


def test_a_record_that_does_not_end_is_a_fault_with_its_place_until_it_ends(bench: EchoBench) -> None:
    bench.feed(b"1", b"hang", b"2")
    stage, echo = bench.stage(stalled_after_s=1.0)
    health = bench.healths[-1]
    writer = FaultWriter(bench.kafka, bench.names.faults, "echo", "0")
    with Running(stage), closing(writer):
        writer.start(health)
        why = eventually(lambda: health.faults.get("loop", ""))
        assert f"still processes record {bench.topic}/0@1" in why
        assert "support/echo_stage.py" in why
        echo.released.set()
        eventually(lambda: bench.visible(bench.out) == [b"1", b"hang", b"2"])
        eventually(lambda: "loop" not in health.faults)


def test_a_group_moved_forward_waits_and_names_the_range(bench: EchoBench) -> None:
    bench.feed(b"1", b"2", b"3", b"4")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 4)
    bench.feed(b"5", b"6", b"7")
    _move(bench, 6)
    again, echo = bench.stage()
    with Running(again):
        eventually(lambda: any("4 to 5 would be skipped" in why for why in bench.healths[-1].faults.values()))
        assert echo.handled == []
        skip = b"skip/%b/%b/0" % (bench.group.encode(), bench.topic.encode())
        bench.producer.produce(bench.names.control, orjson.dumps({"to": 6}), skip)
        eventually(lambda: bench.visible(bench.out)[4:] == [b"7"])


def test_a_group_moved_back_reads_again_and_its_ledger_says_so(bench: EchoBench) -> None:
    bench.feed(b"1", b"2", b"3")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 3)
    _move(bench, 1)
    again, echo = bench.stage()
    with Running(again):
        eventually(lambda: bench.committed() == 3)
    assert echo.handled == [1, 2]
    lines = [orjson.loads(line or b"") for line in bench.visible(bench.names.ledger)]
    gaps = [line for before, line in itertools.pairwise(lines) if line["from"] != before["to"]]
    assert [(line["from"], line["reset"]) for line in gaps] == [(1, True)]
    assert sum(line["reset"] for line in lines) == 1


def test_deleted_committed_offsets_are_a_fault_and_no_new_start(bench: EchoBench) -> None:
    bench.feed(b"1")
    stage, _ = bench.stage()
    with Running(stage):
        eventually(lambda: bench.committed() == 1)
    bench.admin.delete_consumer_groups([bench.group])[bench.group].result(within(30))
    again, echo = bench.stage()
    with Running(again):
        eventually(lambda: any("no committed offset" in why for why in bench.healths[-1].faults.values()))
    assert echo.handled == []


def _move(bench: EchoBench, offset: int) -> None:
    """The same as Kafka's own tool does with a stopped group."""
    consumer = clients.group_consumer(bench.kafka, bench.group, "tool")
    consumer.commit(offsets=[TopicPartition(bench.topic, 0, offset)], asynchronous=False)
    consumer.close()
