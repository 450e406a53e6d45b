"""A log that was set back is noticed before a change of it is skipped or published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.cdc.continuity import Continuity, HistoryDiffers
from sluice.cdc.pgoutput import Begin
from sluice.cdc.watermarks import Proof, SlotWatermark

PROOF = Proof(final_lsn=500, committed_us=7, xid=70)
STORED = SlotWatermark("77", 1, "sluice_erp", 4, 900, 0, proof=PROOF, options="o")
SAME = Begin(500, 7, 70)


def compared(*transactions: Begin, confirmed_lsn: int = 400, stored: SlotWatermark = STORED) -> None:
    continuity = Continuity(stored, confirmed_lsn, "o")
    for transaction in transactions:
        continuity.begin(transaction)


def test_a_stream_that_repeats_the_proof_is_the_same_log() -> None:
    compared(Begin(450, 5, 60), SAME, Begin(900, 8, 71), Begin(950, 9, 72))


def test_a_stream_that_starts_above_the_proof_has_nothing_to_repeat() -> None:
    compared(Begin(900, 8, 71), confirmed_lsn=501)


@pytest.mark.parametrize(
    "transactions",
    [
        (Begin(500, 8, 70),),
        (Begin(500, 7, 71),),
        (Begin(450, 5, 60), Begin(501, 7, 70)),
        (Begin(2000, 9, 99),),
        (SAME, Begin(600, 8, 71)),
    ],
    ids=["another time", "another xid", "another place", "much later", "one that was not there before"],
)
def test_another_transaction_where_one_was_published_shows_another_log(transactions: tuple[Begin, ...]) -> None:
    with pytest.raises(HistoryDiffers, match="set back"):
        compared(*transactions)


def test_a_transaction_below_the_watermark_that_was_not_there_before_shows_another_log() -> None:
    with pytest.raises(HistoryDiffers, match=r"committed at 0/258.*up to 0/384"):
        compared(Begin(600, 8, 71), confirmed_lsn=501)


def test_a_keepalive_beyond_the_proof_shows_that_it_is_missing() -> None:
    continuity = Continuity(STORED, 400, "o")
    continuity.idle(500)
    with pytest.raises(HistoryDiffers, match="transaction 70"):
        continuity.idle(501)


@pytest.mark.parametrize("stored", [replace(STORED, proof=None), replace(STORED, options="other")])
def test_nothing_is_compared_without_a_proof_or_with_other_options_of_the_stream(stored: SlotWatermark) -> None:
    compared(Begin(500, 9, 99), Begin(600, 9, 100), stored=stored)
