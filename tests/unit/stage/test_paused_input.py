"""Too many dead letters pause one input topic. It stays paused after every rebalance."""

from __future__ import annotations

from sluice.stage.partition_record import PartitionRecord
from support.scripted_group import DLQ, ScriptedStage

BAD, GOOD = ("bad", 0), ("good", 0)
BAD_TOO = ("bad", 1)


def test_a_bad_deployment_pauses_its_input_at_the_limit_and_the_other_input_continues() -> None:
    stage = ScriptedStage({BAD: [b"die"] * 150, GOOD: [b"1", b"2"]})
    stage.run(10, lambda turn, it: it.group.assign([BAD, GOOD] if turn < 0 else []))
    assert stage.written(DLQ) == [b"die"] * 100
    assert stage.written("out") == [b"1", b"2"]
    assert "too many dead letters" in stage.health.faults["bad"]


def test_a_partition_of_a_paused_topic_that_is_assigned_later_is_not_read() -> None:
    stage = ScriptedStage({BAD: [b"die"] * 150, BAD_TOO: [b"1"]})

    def assign(turn: int, it: ScriptedStage) -> None:
        it.group.assign({-1: [BAD], 10: [BAD_TOO]}.get(turn, []))

    stage.run(20, assign)
    assert "bad" in stage.health.faults
    assert stage.group.reading == {}
    assert stage.written("out") == []


def test_the_record_of_every_partition_of_a_paused_topic_says_so() -> None:
    stage = ScriptedStage({BAD: [b"die"] * 150, BAD_TOO: [], GOOD: [b"1"]})
    stage.run(10, lambda turn, it: it.group.assign([BAD, BAD_TOO, GOOD] if turn < 0 else []))
    paused_at = stage.outputs.paused_at
    assert paused_at[BAD] == paused_at[BAD_TOO] > 0
    assert paused_at[GOOD] == 0


def test_the_record_says_after_a_restart_that_the_topic_is_read_again() -> None:
    stage = ScriptedStage({BAD: [b"1"]})
    paused = PartitionRecord("id", 0, paused_at=1_700_000_000.0)
    stage.records[BAD] = PartitionRecord.from_json(paused.to_json())
    assert stage.records[BAD].paused_at == 1_700_000_000.0
    stage.run(10, lambda turn, it: it.group.assign([BAD] if turn < 0 else []))
    assert stage.outputs.paused_at == {BAD: 0}
