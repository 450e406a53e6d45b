"""Which partitions a stage does not read, decided from what is durable, and what an operator reads about them."""

from __future__ import annotations

import time
from typing import cast

import pytest

from sluice.cli.lag_report import not_read_lines
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.lag import Backlog
from sluice.lag.measure import StageLag
from sluice.lag.not_read import InputFacts, NotRead, newest_values, partitions_not_read
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.start import skip_key
from sluice.stage.start_decision import StartFacts
from support.memory_log import MemoryLogs

TOPIC = "raw.hr.workers"
AT = (TOPIC, 3)
NOON_S = 1_772_366_400.0


def found(record: PartitionRecord | None, committed: int | None, logs: MemoryLogs | None = None) -> NotRead | None:
    """Why a partition is not read whose log begins at 5 and ends at 100."""
    state = f"state.mapper.{TOPIC}/3"
    start = StartFacts(AT, "mapper", committed, "id", begin=5, end=100, stage="mapper", state=state)
    return partitions_not_read(
        {AT: InputFacts(start, record)}, cast(LogReader, logs or MemoryLogs()), "sluice.control"
    ).get(AT)


def record(processed: int, *, topic_id: str = "id", paused_at: float = 0.0) -> PartitionRecord:
    return PartitionRecord(topic_id, processed, at=time.time(), paused_at=paused_at)


@pytest.mark.parametrize(
    ("known", "committed"),
    [
        pytest.param(None, None, id="never started"),
        pytest.param(record(40), 40, id="at its last offset"),
        pytest.param(record(40), 10, id="rewound: backwards is free"),
    ],
)
def test_a_partition_that_can_be_read_is_not_blocked(known: PartitionRecord | None, committed: int | None) -> None:
    assert found(known, committed) is None


@pytest.mark.parametrize(
    ("known", "committed", "why", "next_step"),
    [
        (record(40), 60, "offsets 40 to 59 would be skipped", f"sluice skips accept mapper {TOPIC} 3 --to 60"),
        (record(40), None, "no committed offset", f"--topic {TOPIC} --reset-offsets --to-earliest"),
        (record(40), 999, "offset 999 is beyond the end of the log, 100", "--to-offset 40"),
        (record(2), 2, "offsets 2 to 4 were deleted from the log", "--to-earliest"),
        (
            record(40, topic_id="other"),
            40,
            "the topic was re-created",
            f"--topic {TOPIC} --reset-offsets --to-earliest",
        ),
        (
            None,
            40,
            "read up to 40, but state.mapper.raw.hr.workers/3 contains no record of it",
            "--to-earliest --execute",
        ),
    ],
)
def test_a_partition_whose_owner_refuses_to_start_is_blocked(
    known: PartitionRecord | None, committed: int | None, why: str, next_step: str
) -> None:
    one = found(known, committed)
    assert one is not None
    assert one.kind == "blocked"
    assert why in one.why
    assert next_step in one.next_step


@pytest.mark.parametrize(
    ("known", "committed", "unread_from"),
    [
        pytest.param(record(40), 60, 40, id="moved forward"),
        pytest.param(record(40), 999, 40, id="moved beyond the end"),
        pytest.param(record(2), 2, 5, id="cut"),
        pytest.param(record(40, topic_id="other"), 40, 5, id="re-created: nothing of it is read"),
        pytest.param(None, 40, 5, id="the state is lost"),
    ],
)
def test_a_blocked_partition_counts_as_unread_from_the_offset_that_the_stage_processed_up_to(
    known: PartitionRecord | None, committed: int, unread_from: int
) -> None:
    one = found(known, committed)
    assert one is not None
    assert one.unread_from == unread_from


def test_a_skip_that_an_operator_accepted_blocks_nothing() -> None:
    logs = MemoryLogs()
    logs.append("sluice.control", 0, skip_key("mapper", AT).encode(), b'{"to":60}', [])
    assert found(record(40), 60, logs) is None
    assert found(record(40), 61, logs) is not None


def test_a_paused_input_shows_since_when_and_what_lets_it_continue() -> None:
    one = found(record(40, paused_at=NOON_S), 40)
    assert one is not None
    assert (one.kind, one.since_s) == ("paused", NOON_S)
    assert "too many dead letters" in one.why
    assert one.next_step.startswith("fix it")
    rewind = f"--group mapper --topic {TOPIC} --reset-offsets --to-earliest --execute"
    assert f"{rewind}, and start it" in one.next_step, "a restart alone does not read what is parked"


def test_a_pause_is_shown_once_for_the_partitions_of_a_topic() -> None:
    paused = NotRead("paused", "too many dead letters", "fix it, then restart mapper", NOON_S)
    blocked = NotRead("blocked", "moved forward", "move it back")
    lag = StageLag("mapper", "mapper", {}, True, {(TOPIC, 0): paused, (TOPIC, 1): paused, ("raw.hr.units", 1): blocked})
    assert list(not_read_lines([lag])) == [
        "paused since 2026-03-01T12:00:00Z: raw.hr.workers/0,1, group mapper: too many dead letters",
        "    next: fix it, then restart mapper",
        "blocked: raw.hr.units/1, group mapper: moved forward",
        "    next: move it back",
    ]


def test_the_json_has_a_blocked_partition_even_if_nothing_is_left_in_it() -> None:
    one = NotRead("blocked", "moved forward", "move it back")
    lag = StageLag("mapper", "mapper", {AT: Backlog(), (TOPIC, 4): Backlog()}, True, {AT: one})
    (partition,) = lag.to_json(NOON_S)["partitions"]
    assert (partition["topic"], partition["partition"]) == AT
    assert partition["not_read"] == {
        "kind": "blocked",
        "why": "moved forward",
        "next_step": "move it back",
        "since_s": None,
        "unread_from": None,
    }


def test_it_is_shown_if_it_is_not_known_whether_all_input_is_read() -> None:
    lag = StageLag("sink-postgres", "sink-postgres", {}, True, {}, "sink warehouse: cannot connect")
    assert list(not_read_lines([lag])) == [
        "whether sink-postgres reads all of its input is not known: sink warehouse: cannot connect"
    ]
    assert lag.to_json(NOON_S)["not_read_unknown"] == "sink warehouse: cannot connect"


@pytest.mark.parametrize("behind", [0, 20, 1_200])
def test_the_newest_value_of_a_key_is_found_at_any_distance_from_the_end(behind: int) -> None:
    logs = MemoryLogs()
    state: Partition = ("state.mapper.raw.hr.workers", 0)
    for value in (b"old", b"new"):
        logs.append(*state, b"mine", value, [])
    for number in range(behind):
        logs.append(*state, b"other %d" % number, b"value", [])
    assert newest_values(cast(LogReader, logs), {state: b"mine"}) == {state: b"new"}


def test_a_key_without_a_record_has_no_newest_value() -> None:
    logs = MemoryLogs()
    logs.append("state", 0, b"other", b"value", [])
    assert newest_values(cast(LogReader, logs), {("state", 0): b"mine"}) == {}
