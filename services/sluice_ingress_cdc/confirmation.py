"""What may be confirmed to Postgres. Confirming is permission to forget: said too early, it loses changes for ever.

Why this is safe. `durable` is raised in one place, after the Kafka transaction that holds both the records and the
watermark was committed; so at every moment the watermark topic says at least `durable`. What is confirmed is the LSN of
such a mark, and only one with ordinal 0, which means that every transaction that committed below it is wholly
published. So confirmed ≤ watermark, always; whatever happens next, a start finds the slot at or below its watermark
and gets everything above sent again. A place told by a keepalive takes the same way: into the watermark first.
"""

from __future__ import annotations

from sluice.postgres.slot_watermark import Mark


class Confirmation:
    """Begins with the mark read from the watermark topic behind the fence."""

    def __init__(self, stored: Mark) -> None:
        self.durable = stored
        # Half of a transaction was published: nothing can be confirmed before its end is. 0 confirms nothing.
        self.lsn = stored.lsn if stored.ordinal == 0 else 0

    def committed(self, mark: Mark) -> None:
        """The Kafka transaction that holds `mark` is committed."""
        self.durable = mark
        if mark.ordinal == 0:
            self.lsn = mark.lsn
