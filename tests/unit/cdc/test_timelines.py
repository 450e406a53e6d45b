"""On another timeline following goes on under the next epoch if the server has everything that is published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.cdc.slots import SourceIdentity, parse_timeline_history
from sluice.cdc.timelines import on_timeline
from sluice.cdc.watermarks import Proof, SlotWatermark

STORED = SlotWatermark("77", 1, "sluice_erp", 4, 0x900, 0, proof=Proof(0x500, 7, 70))


def server(timeline: int, **ended: int) -> SourceIdentity:
    return SourceIdentity("77", timeline, "erp", {int(name[1:]): lsn for name, lsn in ended.items()})


def test_the_same_timeline_changes_nothing() -> None:
    assert on_timeline(STORED, server(1), 0) == STORED


def test_a_promotion_behind_everything_published_raises_the_epoch() -> None:
    assert on_timeline(STORED, server(2, t1=0x900), 0) == replace(STORED, timeline=2, epoch=5)
    assert on_timeline(STORED, server(3, t1=0x950, t2=0xA00), 0) == replace(STORED, timeline=3, epoch=5)


def test_log_without_a_transaction_of_ours_may_be_missing_and_is_read_again() -> None:
    assert on_timeline(STORED, server(2, t1=0x501), 0) == replace(STORED, timeline=2, epoch=5, lsn=0x501)


@pytest.mark.parametrize(
    ("stored", "identity", "snapshots_lsn"),
    [
        (STORED, server(2, t1=0x500), 0),
        (STORED, server(2, t1=0x501), 0x600),
        (replace(STORED, proof=None), server(2, t1=0x8FF), 0),
        (replace(STORED, ordinal=3), server(2, t1=0x900), 0),
    ],
    ids=["the newest transaction", "a snapshot", "it is not known", "a part of a transaction"],
)
def test_a_server_that_lacks_published_changes_is_refused(
    stored: SlotWatermark, identity: SourceIdentity, snapshots_lsn: int
) -> None:
    why = on_timeline(stored, identity, snapshots_lsn)
    assert isinstance(why, str)
    assert "which this server lacks" in why


def test_a_timeline_that_is_no_ancestor_is_refused() -> None:
    assert "does not continue timeline 1" in str(on_timeline(STORED, server(3, t2=0x900), 0))


def test_the_history_of_a_server_is_read() -> None:
    text = "1\t0/9000060\tno recovery target specified\n\n# a comment\n2\t1/A0\tbefore 2026-01-01\n"
    assert parse_timeline_history(text) == {1: 0x9000060, 2: 0x1_0000_00A0}
