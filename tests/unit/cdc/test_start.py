"""At a start: go on only where nothing can have been lost, else refuse and name the repair."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from sluice.cdc.slot_watermark import FOLLOWED, HELD, Mark, SlotWatermark, TableMark, source_watermarks
from sluice.cdc.slots import SlotState, SourceIdentity
from sluice.cdc.table_facts import Bound, BoundColumn, BoundLeaf
from sluice.errors import EnvironmentFault
from sluice_ingress_cdc.confirmation import Confirmation
from sluice_ingress_cdc.start import Begin, Observed, Resume, decide

STORED = SlotWatermark("77", 1, "sluice_erp", 4, 0x5000, 0)
SEEN = Observed(
    source="erp",
    slot_name="sluice_erp",
    identity=SourceIdentity("77", 1, "erp"),
    slot=SlotState(0x5000, 0x4000, None, False),
    wal_end=0x9000,
    has_publication=True,
    tables=2,
    raw_is_empty=False,
)
SLOT = SlotState(0x5000, 0x4000, None, False)


def test_it_goes_on_where_slot_and_watermark_fit() -> None:
    assert decide(STORED, 0, SEEN) == Resume(STORED)
    assert decide(STORED, 4, SEEN) == Resume(STORED)
    assert decide(STORED, 0, SEEN._replace(slot=SLOT._replace(confirmed_flush_lsn=0x4FFF))) == Resume(STORED)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (SEEN._replace(slot=SLOT._replace(confirmed_flush_lsn=0x5001)), r"begins at 0/5001.*up to 0/5000"),
        (SEEN._replace(slot=None), r"does not exist any more.*0/5000"),
        (SEEN._replace(slot=SLOT._replace(lost=True)), r"thrown away log"),
        (SEEN._replace(identity=SourceIdentity("78", 1, "erp")), r"system 78.*system 77"),
        (SEEN._replace(identity=SourceIdentity("77", 2, "erp")), r"timeline 2.*timeline 1"),
        (SEEN._replace(slot_name="other"), r"was slot sluice_erp"),
        (SEEN._replace(wal_end=0x4FFF), r"ends at 0/4FFF.*set back"),
        (SEEN._replace(has_publication=False), r"publication does not exist any more"),
    ],
)
def test_it_refuses_to_lose_changes_and_names_the_repair(seen: Observed, says: str) -> None:
    with pytest.raises(EnvironmentFault, match=says) as refused:
        decide(STORED, 0, seen)
    assert "source erp, slot" in refused.value.where
    assert refused.value.next_step.startswith("run `sluice cdc resnapshot erp`: it reads all 2 tables")
    assert decide(STORED, 5, seen) == Begin(5)


def test_a_first_start_begins_with_epoch_one() -> None:
    assert decide(None, 0, SEEN._replace(raw_is_empty=True, slot=None)) == Begin(1)


def test_a_missing_watermark_beside_raw_records_is_a_stop() -> None:
    with pytest.raises(EnvironmentFault, match="--epoch"):
        decide(None, 0, SEEN)
    assert decide(None, 9, SEEN) == Begin(9)


def test_an_epoch_whose_slot_was_not_made_is_begun_again() -> None:
    assert decide(replace(STORED, lsn=0), 0, SEEN._replace(slot=None)) == Begin(4)


def test_watermarks_survive_their_json() -> None:
    columns = BoundColumn(1, "id", 23, -1, 900), BoundColumn(2, "kind", 70_000, -1, 900, ("label 70001 890",))
    leaves = {8: BoundLeaf(8), 9: BoundLeaf(10, 880)}
    bound = Bound("topic", 7, ("id",), columns, 7, leaves, ("table 12",), (11, 900), 901)
    marks = {
        "public.a": TableMark(FOLLOWED, 17, 2, bound=bound, truncations=(902, 903)),
        "public.b": TableMark(HELD, why="why", next_step="next", fault_at=3),
    }
    stored = {f"erp/{name}": orjson.loads(orjson.dumps(mark.to_json())) for name, mark in marks.items()}
    others = {"crm/*": {"v": 9}, "erp2/*": {"v": 9}}
    assert source_watermarks("erp", {"erp/*": STORED.to_json(), **stored, **others}) == (STORED, marks)
    assert source_watermarks("erp", others) == (None, {})
    with pytest.raises(ValueError, match="version 3"):
        SlotWatermark.from_json({**STORED.to_json(), "v": 3})
    with pytest.raises(ValueError, match="version 3"):
        TableMark.from_json({**marks["public.a"].to_json(), "v": 3})
    without = {k: v for k, v in stored["erp/public.a"].items() if k != "truncations"}
    assert TableMark.from_json(without) == replace(marks["public.a"], truncations=())


def test_a_watermark_of_the_first_form_tells_of_its_slot_alone() -> None:
    first = {**STORED.to_json(), "v": 1, "config": "cfg", "snapshot": {"public.employee": "done"}}
    assert source_watermarks("erp", {"erp/*": first}) == (STORED, {})


def test_half_a_transaction_confirms_no_more_than_the_commit_before_it() -> None:
    confirmation = Confirmation(Mark(500, 3))
    assert confirmation.lsn == 0
    confirmation.committed(Mark(540, 0), 540)
    assert confirmation.lsn == 540
    confirmation.committed(Mark(700, 2), 600)
    assert (confirmation.lsn, confirmation.durable) == (600, Mark(700, 2))
