"""`sluice skips accept` accepts a skip that blocks a partition, and refuses in one line what lets no stage continue."""

from __future__ import annotations

import re

import pytest

from sluice.cli.skips import inputs_of
from sluice.errors import SettingsError
from sluice.lag.groups import StageInputs
from sluice.lag.not_read import InputFacts, require_acceptable
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.start_decision import StartFacts

TOPIC = "raw.hr.workers"
STAGES = [
    StageInputs("mapper", "mapper", (TOPIC, "raw.hr.units")),
    StageInputs("sink-postgres", "sink-postgres", ("canonical.worker",), "warehouse"),
]
# The group committed 60 of partition 1, and its stage processed up to 40; in partition 0 both are 40.
BLOCKED = {
    (TOPIC, p): InputFacts(
        StartFacts((TOPIC, p), "mapper", committed, "id", 0, 100, stage="mapper"), PartitionRecord("id", 40, at=4e9)
    )
    for p, committed in enumerate((40, 60))
}


@pytest.mark.parametrize(
    ("group", "topic", "message"),
    [
        ("sinkpostgres", "canonical.worker", "no group sinkpostgres; there are mapper, sink-postgres"),
        ("mapper", "canonical.worker", f"mapper does not read canonical.worker; it reads {TOPIC}, raw.hr.units"),
    ],
)
def test_an_unknown_name_is_refused_and_the_known_ones_are_named(group: str, topic: str, message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        inputs_of(STAGES, group, topic)


@pytest.mark.parametrize(
    ("partition", "to", "message"),
    [
        (0, 40, f"mapper is not blocked at {TOPIC}/0, so there is nothing to accept; it is blocked at {TOPIC}/1"),
        (1, 50, f"accepting 50 does not let mapper continue at {TOPIC}/1: moved forward: offsets 40 to 59"),
        (1, 999, f"sluice skips accept mapper {TOPIC} 1 --to 60"),
    ],
)
def test_an_acceptance_that_lets_no_stage_continue_is_refused_and_the_blocked_partitions_are_named(
    partition: int, to: int, message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        require_acceptable(BLOCKED, (TOPIC, partition), to)


def test_a_skip_that_blocks_a_partition_is_accepted() -> None:
    assert inputs_of(STAGES, "mapper", TOPIC) == STAGES[0]
    require_acceptable(BLOCKED, (TOPIC, 1), 60)
