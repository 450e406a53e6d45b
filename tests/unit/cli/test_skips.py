"""`sluice skips accept` accepts what is held, and refuses in one line whatever would let no stage go on."""

from __future__ import annotations

import re

import pytest

from sluice.cli.skips import inputs_of
from sluice.errors import SettingsError
from sluice.lag.groups import StageInputs
from sluice.lag.not_read import InputFacts, refuse_acceptance
from sluice.stage.partition_record import PartitionRecord

TOPIC = "raw.hr.workers"
STAGES = [
    StageInputs("mapper", "mapper", (TOPIC, "raw.hr.units")),
    StageInputs("sink-postgres", "sink-postgres", ("canonical.worker",), "warehouse"),
]
# The group stands at 60 of partition 1, and its stage did all up to 40; in partition 0 both are at 40.
HELD = InputFacts(
    "mapper",
    "mapper",
    {TOPIC: "id"},
    {(TOPIC, 0): 0, (TOPIC, 1): 0},
    {(TOPIC, 0): 100, (TOPIC, 1): 100},
    {(TOPIC, 0): 40, (TOPIC, 1): 60},
    {(TOPIC, p): PartitionRecord("id", 40, at=4e9) for p in (0, 1)},
)


@pytest.mark.parametrize(
    ("group", "topic", "told"),
    [
        ("sinkpostgres", "canonical.worker", "no group sinkpostgres; there are mapper, sink-postgres"),
        ("mapper", "canonical.worker", f"mapper does not read canonical.worker; it reads {TOPIC}, raw.hr.units"),
    ],
)
def test_a_name_that_is_none_is_refused_and_the_known_ones_are_told(group: str, topic: str, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        inputs_of(STAGES, group, topic)


@pytest.mark.parametrize(
    ("partition", "to", "told"),
    [
        (0, 40, f"mapper is not held at {TOPIC}/0, so that there is nothing to accept; it is held at {TOPIC}/1"),
        (1, 50, f"accepting 50 does not let mapper go on at {TOPIC}/1: moved forward: offsets 40 to 59"),
        (1, 999, f"sluice skips accept mapper {TOPIC} 1 --to 60"),
    ],
)
def test_what_would_let_no_stage_go_on_is_refused_and_what_is_held_is_told(partition: int, to: int, told: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        refuse_acceptance(HELD, (TOPIC, partition), to)


def test_what_is_held_is_accepted() -> None:
    assert inputs_of(STAGES, "mapper", TOPIC) == STAGES[0]
    refuse_acceptance(HELD, (TOPIC, 1), 60)
