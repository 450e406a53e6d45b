"""At a start: go on only where nothing can have been lost, else refuse and name the repair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.errors import EnvironmentFault
from sluice.postgres.slot_watermark import DONE, PENDING, Mark, SlotWatermark
from sluice.postgres.slots import SlotState, SourceIdentity
from sluice_ingress_cdc.confirmation import Confirmation
from sluice_ingress_cdc.start import Begin, Observed, Resume, decide

STORED = SlotWatermark("77", 1, "sluice_erp", 4, 0x5000, 0, "cfg", {"public.employee": DONE})
SEEN = Observed(
    source="erp",
    slot_name="sluice_erp",
    identity=SourceIdentity("77", 1, "erp"),
    slot=SlotState(0x5000, 0x4000, None, False),
    wal_end=0x9000,
    config="cfg",
    tables=("public.employee",),
    unpublished=(),
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
        (SEEN._replace(config="new"), r"a primary key or a raw topic"),
        (
            SEEN._replace(config="new", tables=("public.employee", "public.move", "public.badge")),
            r"table public\.badge was added to the pipeline, table public\.move was added.*no table of the source",
        ),
        (SEEN._replace(config="new", tables=()), r"table public\.employee was taken out of the pipeline"),
        (SEEN._replace(unpublished=("public.employee",)), r"publication lacks table public\.employee"),
    ],
)
def test_it_refuses_to_lose_changes_and_names_the_repair(seen: Observed, says: str) -> None:
    with pytest.raises(EnvironmentFault, match=says) as refused:
        decide(STORED, 0, seen)
    assert "source erp, slot" in refused.value.where
    assert refused.value.next_step.startswith("run `sluice cdc resnapshot erp`: it reads all ")
    assert decide(STORED, 5, seen) == Begin(5)


def test_a_first_start_begins_with_epoch_one() -> None:
    assert decide(None, 0, SEEN._replace(raw_is_empty=True, slot=None)) == Begin(1)


def test_a_missing_watermark_beside_raw_records_is_a_stop() -> None:
    with pytest.raises(EnvironmentFault, match="--epoch"):
        decide(None, 0, SEEN)
    assert decide(None, 9, SEEN) == Begin(9)


def test_an_interrupted_snapshot_begins_anew_in_a_higher_epoch() -> None:
    interrupted = replace(STORED, snapshot={"public.employee": DONE, "public.move": PENDING})
    assert decide(interrupted, 0, SEEN) == Begin(5)


def test_an_epoch_that_published_nothing_is_not_used_up() -> None:
    raised = replace(STORED, lsn=0, snapshot={"public.employee": PENDING, "public.move": PENDING})
    assert decide(raised, 0, SEEN._replace(slot=None)) == Begin(4)


def test_a_watermark_survives_its_json() -> None:
    assert SlotWatermark.from_json(STORED.to_json()) == STORED
    with pytest.raises(ValueError, match="version 2"):
        SlotWatermark.from_json({**STORED.to_json(), "v": 2})


def test_half_a_transaction_confirms_no_more_than_the_commit_before_it() -> None:
    confirmation = Confirmation(Mark(500, 3))
    assert confirmation.lsn == 0
    confirmation.committed(Mark(540, 0), 540)
    assert confirmation.lsn == 540
    confirmation.committed(Mark(700, 2), 600)
    assert (confirmation.lsn, confirmation.durable) == (600, Mark(700, 2))
