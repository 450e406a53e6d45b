"""The record of a partition without new records is written again from time to time."""

from __future__ import annotations

from sluice.settings.stage import StageSettings
from support.scripted_group import ScriptedStage

BUSY, QUIET = ("input", 0), ("input", 1)


def run(renew_records_after_s: float) -> ScriptedStage:
    """A stage after thirty turns, in each of which a record comes to one of two partitions."""
    settings = StageSettings(renew_records_after_s=renew_records_after_s)
    stage = ScriptedStage({BUSY: [], QUIET: []}, settings=settings)

    def turn(number: int, it: ScriptedStage) -> None:
        if number < 0:
            it.group.assign([BUSY, QUIET])
        it.arrive(BUSY, [b"%d" % number])

    stage.run(30, turn)
    return stage


def test_the_record_of_a_quiet_partition_is_renewed_while_another_partition_is_busy() -> None:
    assert run(0.0).outputs.noted[QUIET] > 10


def test_a_quiet_partition_is_not_written_for_every_batch() -> None:
    stage = run(3_600.0)
    assert stage.outputs.noted[QUIET] == 1
    assert stage.outputs.noted[BUSY] > 10
