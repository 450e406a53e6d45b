"""Whether a slot can be followed after its server got another timeline: a standby was promoted, or a server was
recovered to a point in time. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluice.cdc.slots import SourceIdentity, format_lsn
from sluice.cdc.watermarks import SlotWatermark


def on_timeline(watermark: SlotWatermark, identity: SourceIdentity, snapshots_lsn: int) -> SlotWatermark | str:
    """The watermark to resume on the server `identity`; or why changes would be lost, as a clause.

    `snapshots_lsn`: the tables' snapshots contain commits up to this LSN. If the server still has everything that is
    published, the watermark gets the server's timeline and the next epoch. It is then at most at the LSN where the old
    timeline ended: above it the new timeline has other transactions.
    """
    if watermark.system_id != identity.system_id or watermark.timeline == identity.timeline:
        return watermark
    end = identity.ancestors.get(watermark.timeline)
    if end is None:
        return (
            f"this is timeline {identity.timeline}, which does not continue timeline {watermark.timeline} of the "
            "watermark: the server was recovered to another point in time"
        )
    published = published_lsn(watermark, snapshots_lsn)
    if published > end:
        return (
            f"timeline {watermark.timeline} ended at {format_lsn(end)} when this server was promoted or recovered, and "
            f"changes up to {format_lsn(published)} are published, which this server lacks"
        )
    return replace(watermark, timeline=identity.timeline, epoch=watermark.epoch + 1, lsn=min(watermark.lsn, end))


def published_lsn(watermark: SlotWatermark, snapshots_lsn: int) -> int:
    """The LSN below which everything is that is published. It may be below the watermark's LSN: a keepalive raises the
    watermark over log without a transaction of this slot."""
    if watermark.ordinal:
        return watermark.lsn + 1  # the LSN is that of the commit record
    if watermark.proof is None:
        return watermark.lsn
    return min(watermark.lsn, max(watermark.proof.final_lsn + 1, snapshots_lsn))
