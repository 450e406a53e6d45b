"""Which partitions a stage does not read, as far as what is durable tells, and how it is said to an operator."""

from __future__ import annotations

import time
from typing import cast

import pytest

from sluice.cli.lag import hold_lines
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.lag import Backlog
from sluice.lag.measure import StageLag
from sluice.lag.not_read import InputFacts, NotRead, holds
from sluice.lag.partition_records import newest_values
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.start import skip_key
from support.memory_log import MemoryLogs

TOPIC = "raw.hr.workers"
AT = (TOPIC, 3)
NOON_S = 1_772_366_400.0


def found(record: PartitionRecord | None, committed: int | None, logs: MemoryLogs | None = None) -> NotRead | None:
    """The hold of a partition whose log begins at 5 and ends at 100."""
    looked = InputFacts(
        stage="mapper",
        group="mapper",
        topic_ids={TOPIC: "id"},
        begins={AT: 5},
        ends={AT: 100},
        committed={} if committed is None else {AT: committed},
        records={} if record is None else {AT: record},
        states={AT: f"state.mapper.{TOPIC}/3"},
    )
    return holds(looked, cast(LogReader, logs or MemoryLogs()), "sluice.control").get(AT)


def record(processed: int, *, topic_id: str = "id", paused_at: float = 0.0) -> PartitionRecord:
    return PartitionRecord(topic_id, processed, at=time.time(), paused_at=paused_at)


@pytest.mark.parametrize(
    ("known", "committed"),
    [
        pytest.param(None, None, id="nobody ever began it"),
        pytest.param(record(40), 40, id="where it was left"),
        pytest.param(record(40), 10, id="rewound: backwards is free"),
    ],
)
def test_a_partition_that_can_be_read_is_not_held(known: PartitionRecord | None, committed: int | None) -> None:
    assert found(known, committed) is None


@pytest.mark.parametrize(
    ("known", "committed", "why", "next_step"),
    [
        (record(40), 60, "offsets 40 to 59 would be skipped", f"sluice skips accept mapper {TOPIC} 3 --to 60"),
        (record(40), None, "no committed offset", f"--topic {TOPIC} --reset-offsets --to-earliest"),
        (record(40), 999, "offset 999 is beyond the end of the log, 100", "--to-offset 40"),
        (record(2), 2, "offsets 2 to 4 are gone from the log", "--to-earliest"),
        (
            record(40, topic_id="other"),
            40,
            "the topic was re-created",
            f"--topic {TOPIC} --reset-offsets --to-earliest",
        ),
        (None, 40, "read up to 40, and state.mapper.raw.hr.workers/3 holds no record of it", "--to-earliest --execute"),
    ],
)
def test_a_partition_whose_owner_would_refuse_to_begin_is_held(
    known: PartitionRecord | None, committed: int | None, why: str, next_step: str
) -> None:
    hold = found(known, committed)
    assert hold is not None
    assert hold.kind == "held"
    assert why in hold.why
    assert next_step in hold.next_step


@pytest.mark.parametrize(
    ("known", "committed", "unread_from"),
    [
        pytest.param(record(40), 60, 40, id="moved forward"),
        pytest.param(record(40), 999, 40, id="moved beyond the end"),
        pytest.param(record(2), 2, 5, id="cut"),
        pytest.param(record(40, topic_id="other"), 40, 5, id="made again: nothing of it is read"),
        pytest.param(None, 40, 5, id="the state is lost"),
    ],
)
def test_what_is_held_counts_as_unread_from_where_the_stage_left_it(
    known: PartitionRecord | None, committed: int, unread_from: int
) -> None:
    hold = found(known, committed)
    assert hold is not None
    assert hold.unread_from == unread_from


def test_a_skip_that_an_operator_accepted_holds_nothing() -> None:
    logs = MemoryLogs()
    logs.append("sluice.control", 0, skip_key("mapper", AT).encode(), b'{"to":60}', [])
    assert found(record(40), 60, logs) is None
    assert found(record(40), 61, logs) is not None


def test_a_paused_input_says_since_when_and_what_lets_it_go_on() -> None:
    hold = found(record(40, paused_at=NOON_S), 40)
    assert hold is not None
    assert (hold.kind, hold.since_s) == ("paused", NOON_S)
    assert "too many dead letters" in hold.why
    assert hold.next_step.startswith("mend it")
    rewind = f"--group mapper --topic {TOPIC} --reset-offsets --to-earliest --execute"
    assert f"{rewind}, and start it" in hold.next_step, "a restart alone leaves what is parked"


def test_a_pause_is_told_once_for_the_partitions_of_a_topic() -> None:
    hold = NotRead("paused", "too many dead letters", "mend it, then restart mapper", NOON_S)
    held = NotRead("held", "moved forward", "move it back")
    lag = StageLag("mapper", "mapper", {}, True, {(TOPIC, 0): hold, (TOPIC, 1): hold, ("raw.hr.units", 1): held})
    assert list(hold_lines([lag])) == [
        "paused since 2026-03-01T12:00:00Z: raw.hr.workers/0,1, group mapper: too many dead letters",
        "    next: mend it, then restart mapper",
        "held: raw.hr.units/1, group mapper: moved forward",
        "    next: move it back",
    ]


def test_a_held_partition_is_told_to_programs_even_if_nothing_is_left_in_it() -> None:
    hold = NotRead("held", "moved forward", "move it back")
    lag = StageLag("mapper", "mapper", {AT: Backlog(), (TOPIC, 4): Backlog()}, True, {AT: hold})
    (told,) = lag.to_json(NOON_S)["partitions"]
    assert (told["topic"], told["partition"]) == AT
    assert told["hold"] == {
        "kind": "held",
        "why": "moved forward",
        "next_step": "move it back",
        "since_s": None,
        "unread_from": None,
    }


def test_what_cannot_be_found_out_is_said() -> None:
    lag = StageLag("sink-postgres", "sink-postgres", {}, True, {}, "sink warehouse: cannot connect")
    assert list(hold_lines([lag])) == [
        "whether sink-postgres reads all of its input is not known: sink warehouse: cannot connect"
    ]
    assert lag.to_json(NOON_S)["holds_unknown"] == "sink warehouse: cannot connect"


@pytest.mark.parametrize("behind", [0, 20, 1_200])
def test_the_newest_value_under_a_key_is_found_however_much_stands_behind_it(behind: int) -> None:
    logs = MemoryLogs()
    state: Partition = ("state.mapper.raw.hr.workers", 0)
    for value in (b"old", b"new"):
        logs.append(*state, b"mine", value, [])
    for number in range(behind):
        logs.append(*state, b"other %d" % number, b"value", [])
    assert newest_values(cast(LogReader, logs), {state: b"mine"}) == {state: b"new"}


def test_a_key_that_never_was_has_no_newest_value() -> None:
    logs = MemoryLogs()
    logs.append("state", 0, b"other", b"value", [])
    assert newest_values(cast(LogReader, logs), {("state", 0): b"mine"}) == {}
