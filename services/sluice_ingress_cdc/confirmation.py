"""What may be confirmed to Postgres. Confirming is permission to forget: said too early, it loses changes for ever.

Why this is safe. `committed` is called in one place, after the Kafka transaction that holds both a batch and its
watermark was committed; so at every moment the watermark topic says at least `durable`. What is confirmed is the
`complete_lsn` of such a batch: the end of a commit (or a place that a keepalive told between transactions), and never
above the batch's mark. So confirmed ≤ watermark, always; whatever happens next, a start finds the slot at or below its
watermark and gets everything above sent again. An event's own LSN is never confirmed: its transaction, and others that
are interleaved with it in the log, may not have committed below it.
"""

from __future__ import annotations

from sluice.cdc.slot_watermark import Mark


class Confirmation:
    """Begins with the mark read from the watermark topic behind the fence."""

    def __init__(self, stored: Mark) -> None:
        self.durable = stored
        # Half of a transaction was published: nothing can be confirmed before its end is. 0 confirms nothing.
        self.lsn = stored.lsn if stored.ordinal == 0 else 0

    def committed(self, mark: Mark, complete_lsn: int) -> None:
        """The Kafka transaction that holds `mark` is committed; all that committed below `complete_lsn` is in it or
        was before."""
        self.durable = mark
        self.lsn = max(self.lsn, complete_lsn)
