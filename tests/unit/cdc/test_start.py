"""A start resumes only if no change can be lost; else it refuses and names the repair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sluice.cdc.followed_source import FollowedSource, SourceState
from sluice.cdc.slots import SlotState, SourceIdentity
from sluice.cdc.watermarks import SlotWatermark
from sluice.errors import EnvironmentFault
from sluice.pipeline import Secret
from sluice_ingress_cdc.start import FullSnapshot, SourceAtStart, plan_start

STORED = SlotWatermark("77", 1, "sluice_erp", 4, 0x5000, 0)
SLOT = SlotState(0x5000, 0x4000, None, False)
SOURCE = SourceAtStart(
    followed=FollowedSource("erp", Secret(env="DSN"), "sluice_erp", "sluice_erp"),
    state=SourceState(SourceIdentity("77", 1, "erp"), SLOT, wal_end=0x9000),
    has_publication=True,
    tables=2,
    raw_is_empty=False,
)


def _at(**state: Any) -> SourceAtStart:
    """`SOURCE` in another state."""
    return SOURCE._replace(state=SOURCE.state._replace(**state))


def _invalidated(reason: str) -> SlotState:
    return SLOT._replace(lost=True, invalidation_reason=reason)


def test_it_resumes_if_slot_and_watermark_match() -> None:
    assert plan_start(STORED, 0, SOURCE) == STORED
    assert plan_start(STORED, 4, SOURCE) == STORED
    assert plan_start(STORED, 0, _at(slot=SLOT._replace(confirmed_flush_lsn=0x4FFF))) == STORED


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (_at(slot=SLOT._replace(confirmed_flush_lsn=0x5001)), r"starts at 0/5001.*up to 0/5000"),
        (_at(slot=None), r"does not exist any more.*0/5000"),
        (_at(slot=SLOT._replace(lost=True)), r"removed log"),
        (_at(slot=_invalidated("wal_removed")), r"invalidated.*\(wal_removed\).*max_slot_wal_keep_size"),
        (_at(slot=_invalidated("idle_timeout")), r"idle_replication_slot_timeout"),
        (_at(slot=_invalidated("rows_removed")), r"hot_standby_feedback"),
        (_at(slot=_invalidated("wal_level_insufficient")), r"wal_level"),
        (_at(slot=_invalidated("a_later_reason")), r"\(a_later_reason\); everything"),
        (_at(identity=SourceIdentity("78", 1, "erp")), r"system 78.*system 77"),
        (_at(identity=SourceIdentity("77", 2, "erp")), r"timeline 2.*timeline 1"),
        (SOURCE._replace(followed=replace(SOURCE.followed, slot="other")), r"is of slot sluice_erp"),
        (_at(wal_end=0x4FFF), r"ends at 0/4FFF.*set back"),
        (SOURCE._replace(has_publication=False), r"publication does not exist any more"),
    ],
)
def test_it_refuses_to_lose_changes_and_names_the_repair(source: SourceAtStart, says: str) -> None:
    with pytest.raises(EnvironmentFault, match=says) as refused:
        plan_start(STORED, 0, source)
    assert "source erp, slot" in refused.value.where
    assert refused.value.next_step.startswith("run `sluice cdc resnapshot erp`: it reads all 2 tables")
    assert plan_start(STORED, 5, source) == FullSnapshot(5)


def test_a_first_start_has_epoch_one() -> None:
    assert plan_start(None, 0, _at(slot=None)._replace(raw_is_empty=True)) == FullSnapshot(1)


def test_a_missing_watermark_with_raw_records_is_refused() -> None:
    with pytest.raises(EnvironmentFault, match="--epoch"):
        plan_start(None, 0, SOURCE)
    assert plan_start(None, 9, SOURCE) == FullSnapshot(9)


def test_an_epoch_whose_slot_was_not_created_starts_again() -> None:
    assert plan_start(replace(STORED, lsn=0), 0, _at(slot=None)) == FullSnapshot(4)


def test_a_source_that_is_read_when_needed_is_read_again_instead_of_refused() -> None:
    gone = _at(slot=None)
    assert plan_start(STORED, 0, gone, reads_when_needed=True) == FullSnapshot(5)
    assert plan_start(STORED, 0, SOURCE, reads_when_needed=True) == STORED
