"""What to do with a slot at a start: go on, begin anew, or refuse. A pure function of the watermark and of what the
source shows. What becomes of each table is `judgement`'s.

A slot that was dropped and created again begins later than we stopped and says nothing of the rows between: Postgres
reports no error. So nothing is taken on trust; in doubt the stage refuses and names the command that repairs.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.cdc.lsn import format_lsn
from sluice.cdc.slot_watermark import SlotWatermark
from sluice.cdc.slots import SlotState, SourceIdentity
from sluice.errors import EnvironmentFault


class Observed(NamedTuple):
    """The source as it stands. `raw_is_empty` matters, and is asked, only where there is no watermark.

    `tables`: how many the pipeline follows.
    """

    source: str
    slot_name: str
    identity: SourceIdentity
    slot: SlotState | None
    wal_end: int
    has_publication: bool
    tables: int
    raw_is_empty: bool


class Resume(NamedTuple):
    """Go on from the watermark."""

    watermark: SlotWatermark


class Begin(NamedTuple):
    """Drop the slot if there is one, create it, read all tables as `epoch`."""

    epoch: int


def decide(stored: SlotWatermark | None, requested_epoch: int, seen: Observed) -> Resume | Begin:
    """The plan. Raises EnvironmentFault naming source, slot, LSNs and the repair when going on would lose changes."""
    if stored is None:
        return _first_start(requested_epoch, seen)
    if requested_epoch > stored.epoch:
        return Begin(requested_epoch)
    if not stored.lsn:
        # The epoch was raised and the process ended before the slot was made: nothing of it is published.
        return Begin(stored.epoch)
    why = _why_not_resume(stored, seen)
    if why is not None:
        raise _refusal(seen, why)
    return Resume(stored)


def _first_start(requested_epoch: int, seen: Observed) -> Begin:
    if seen.raw_is_empty or requested_epoch:
        # A slot of our name beside empty topics guards nothing that anybody published: it is made anew.
        return Begin(max(requested_epoch, 1))
    raise EnvironmentFault(
        _where(seen),
        "there is no watermark, and the raw topics hold records: their epochs are unknown",
        f"run `sluice cdc resnapshot {seen.source} --epoch N` with N above every epoch in those topics",
    )


def _why_not_resume(stored: SlotWatermark, seen: Observed) -> str | None:
    ours = format_lsn(stored.lsn)
    identity, slot = seen.identity, seen.slot
    if (stored.system_id, stored.timeline) != (identity.system_id, identity.timeline):
        return (
            f"this is system {identity.system_id}, timeline {identity.timeline}; "
            f"followed so far was system {stored.system_id}, timeline {stored.timeline}"
        )
    if stored.slot != seen.slot_name:
        return f"followed so far was slot {stored.slot}"
    if slot is None:
        return f"the slot does not exist any more; published is everything up to {ours}"
    if slot.lost:
        return f"the server has thrown away log that the slot needs; published is everything up to {ours}"
    if slot.confirmed_flush_lsn > stored.lsn:
        return (
            f"the slot begins at {format_lsn(slot.confirmed_flush_lsn)}, published is everything up to {ours}: "
            "it was created again or moved, and what lies between would be lost"
        )
    if seen.wal_end < stored.lsn:
        return f"the source's log ends at {format_lsn(seen.wal_end)}, published is up to {ours}: it was set back"
    if not seen.has_publication:
        return "the publication does not exist any more: changes since then were not sent"
    return None


def _where(seen: Observed) -> str:
    return f"source {seen.source}, slot {seen.slot_name}"


def _refusal(seen: Observed, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        _where(seen),
        why,
        f"run `sluice cdc resnapshot {seen.source}`: it reads all {seen.tables} tables of the source again, "
        "through a new slot; what is as it was is not written again, and what is gone is retracted",
    )
