"""Whether the log of a source still is the log whose changes are published. Pure.

A slot is resumed from an LSN. An LSN does not identify a change: a server that was restored from a copy of its files
has the same system identifier, timeline and slot, and it writes other changes at LSNs that were used before. Therefore
the watermark contains a proof: the newest transaction that the slot has sent, with its transaction id and its commit
time in microseconds. The slot of a restored server was confirmed before the copy was made. So this server must send the
transaction of the proof again, and it cannot. The heartbeat writes a transaction every few seconds: the proof is always
newer than a copy from before that.
"""

from __future__ import annotations

from sluice.cdc.pgoutput import Begin
from sluice.cdc.slots import format_lsn
from sluice.cdc.watermarks import Proof, SlotWatermark


class HistoryDiffers(Exception):
    """The source's log is not the log whose changes are published. The text says why, as a clause."""


class Continuity:
    """Compares the transactions of a new stream with the watermark that it was started from.

    `confirmed_lsn`: where the slot starts; a transaction below it is not sent again. `options`: the options of the
    stream. If the watermark was written with other options, the server may send other transactions, and nothing is
    compared.
    """

    def __init__(self, watermark: SlotWatermark, confirmed_lsn: int, options: str) -> None:
        comparable = watermark.proof is not None and watermark.options == options
        self._known: Proof | None = watermark.proof if comparable else None
        self._published_lsn = watermark.lsn
        self._is_due = self._known is not None and confirmed_lsn <= self._known.final_lsn

    def begin(self, transaction: Begin) -> None:
        """Compare the next transaction of the stream. Raises HistoryDiffers."""
        known = self._known
        if known is None or transaction.final_lsn < known.final_lsn:
            return
        if self._is_due:
            if transaction != Begin(known.final_lsn, known.committed_us, known.xid):
                raise HistoryDiffers(_lacks(known))
            self._is_due = False
        elif known.final_lsn < transaction.final_lsn < self._published_lsn:
            raise HistoryDiffers(
                f"a transaction committed at {format_lsn(transaction.final_lsn)}, and the log up to "
                f"{format_lsn(self._published_lsn)} was published without it: the source was set back"
            )
        if transaction.final_lsn >= self._published_lsn:
            self._known = None

    def idle(self, wal_end: int) -> None:
        """Compare a keepalive between transactions: all transactions below `wal_end` were sent. Raises
        HistoryDiffers."""
        if self._is_due and self._known is not None and wal_end > self._known.final_lsn:
            raise HistoryDiffers(_lacks(self._known))


def _lacks(proof: Proof) -> str:
    return (
        f"transaction {proof.xid}, which is published, is not in the log at {format_lsn(proof.final_lsn)} any more: "
        "the source was set back"
    )
