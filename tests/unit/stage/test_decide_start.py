"""Where an owner of a partition begins, as a table; and every case in which going on could lose records is refused."""

from __future__ import annotations

import pytest

from sluice.errors import EnvironmentFault
from sluice.position import Position
from sluice.stage.partition import ABSENCE_MAX_S, Found, PartitionRecord, Start, decide_start

AT = ("raw.erp.public.employee", 3)
NOW = 2_000_000_000.0
END = 100


def record(processed: int, *, topic_id: str = "id", age_s: float = 10.0) -> PartitionRecord:
    return PartitionRecord(topic_id, processed, at=NOW - age_s)


@pytest.mark.parametrize(
    ("committed", "known", "begin", "accepted", "expected"),
    [
        (None, None, 7, None, Start(7)),  # a new group starts at the first offset
        (40, None, 7, None, Start(40)),
        (40, record(40), 7, None, Start(40)),
        (10, record(40), 7, None, Start(10, reset=True)),  # rewound: backwards is free
        (60, record(40), 7, 60, Start(60, reset=True)),  # moved forward, and an operator accepted it
        (40, record(40, age_s=ABSENCE_MAX_S + 1), 7, None, Start(7, reset=True)),  # tombstones may be gone
        (7, record(7, age_s=ABSENCE_MAX_S + 1), 7, None, Start(7)),
    ],
)
def test_the_start_follows_the_committed_offset_and_the_record(
    committed: int | None, known: PartitionRecord | None, begin: int, accepted: int | None, expected: Start
) -> None:
    assert decide_start(Found(AT, "mapper", committed, "id", begin, END, accepted), known, NOW) == expected


@pytest.mark.parametrize(
    ("committed", "known", "begin", "accepted", "told"),
    [
        (40, record(40, topic_id="other"), 0, None, ["re-created", "other"]),
        (
            None,
            record(40),
            0,
            None,
            ["no committed offset", "--topic raw.erp.public.employee --reset", "--to-earliest"],
        ),
        (60, record(40), 0, None, ["40 to 59", "sluice skips accept mapper raw.erp.public.employee 3 --to 60"]),
        (60, record(40), 0, 50, ["40 to 59"]),  # another skip was accepted than this one
        (40, record(40), 55, None, ["40 to 54", "gone from the log"]),
        (40, None, 55, None, ["40 to 54", "gone from the log"]),
        (999, record(40), 0, 999, ["offset 999 is beyond the end of the log, 100", "--to-offset 40 --execute"]),
        (999, record(40, age_s=ABSENCE_MAX_S + 1), 0, 999, ["beyond the end"]),
        (999, record(500), 0, None, ["beyond the end", "--to-offset 100 --execute"]),  # the log was cut off
        (999, None, 7, None, ["beyond the end", "--to-offset 7 --execute"]),
    ],
)
def test_what_could_lose_records_is_refused_with_the_range_and_the_way_out(
    committed: int | None, known: PartitionRecord | None, begin: int, accepted: int | None, told: list[str]
) -> None:
    with pytest.raises(EnvironmentFault) as refused:
        decide_start(Found(AT, "mapper", committed, "id", begin, END, accepted), known, NOW)
    assert "raw.erp.public.employee/3" in refused.value.where
    for words in told:
        assert words in str(refused.value)


def test_a_group_that_was_deleted_is_reset_by_one_command_for_all_partitions_of_a_topic() -> None:
    told = set()
    for partition in range(6):
        with pytest.raises(EnvironmentFault) as refused:
            decide_start(Found((AT[0], partition), "mapper", None, "id", 0, END), record(40 + partition), NOW)
        told.add((refused.value.why, refused.value.next_step))
    assert len(told) == 1


def test_a_partition_record_survives_its_json() -> None:
    before = PartitionRecord("id", 17, {"worker": 3}, {"public.employee": Position(2, 500, 0)}, {"worker": "hash"})
    after = PartitionRecord.from_json(before.to_json())
    assert (after.processed, after.versions, after.sweeps, after.rules) == (17, *before_parts(before))


def before_parts(record: PartitionRecord) -> tuple[object, object, object]:
    return record.versions, record.sweeps, record.rules
