"""What the loop does after an error, by its kind."""

from __future__ import annotations

import pytest

from sluice.errors import Bug, DeadRecord, Fenced, TransactionLost
from sluice.stage.recovery import FENCED_OFTEN, FENCED_WITHIN_S, Fences
from support.scripted_group import ScriptedStage

AT = ("input", 0)


def test_a_dead_record_outside_of_handle_is_a_bug_and_nothing_is_committed() -> None:
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = DeadRecord("too-large", "a record for out exceeds 9 bytes")
    with pytest.raises(Bug, match="too-large: a record for out exceeds 9 bytes"):
        stage.run(5, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    assert stage.outputs.delivered == []


def test_a_process_that_is_fenced_repeatedly_reports_another_process_with_its_id() -> None:
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = Fenced("scripted-0: committing: _FENCED", "scripted-0")
    stage.run(10, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    why = stage.health.faults["fenced"]
    assert why.startswith("transactional id scripted-0: ")
    assert "another process runs with SLUICE_INSTANCE=0" in why
    assert stage.outputs.delivered == []


def test_a_transaction_that_is_lost_for_another_reason_is_no_fence() -> None:
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = TransactionLost("scripted-0: committing: no answer")
    stage.run(10, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    assert "fenced" not in stage.health.faults


def test_a_successor_that_fences_from_time_to_time_is_no_fault() -> None:
    fences, apart_s = Fences(), FENCED_WITHIN_S / (FENCED_OFTEN - 1)
    assert not any(fences.add(number * apart_s) for number in range(20))


def test_fences_that_stopped_are_forgotten_after_a_while() -> None:
    fences = Fences()
    assert [fences.add(float(number)) for number in range(FENCED_OFTEN)] == [False] * (FENCED_OFTEN - 1) + [True]
    assert fences.often(FENCED_OFTEN + 1.0)
    assert not fences.often(FENCED_WITHIN_S + FENCED_OFTEN)
