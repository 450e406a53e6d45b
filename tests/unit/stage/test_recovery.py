"""What the loop does about an error, by its kind."""

from __future__ import annotations

import pytest

from sluice.errors import Bug, DeadRecord
from support.scripted_group import ScriptedStage

AT = ("input", 0)


def test_a_record_called_dead_when_it_is_too_late_to_tell_which_is_a_bug_and_nothing_was_committed() -> None:
    stage = ScriptedStage({AT: [b"1"]})
    stage.outputs.fault = DeadRecord("too-large", "a record for out exceeds 9 bytes")
    with pytest.raises(Bug, match="too-large: a record for out exceeds 9 bytes"):
        stage.run(5, lambda turn, it: it.group.assign([AT] if turn < 0 else []))
    assert stage.outputs.delivered == []
