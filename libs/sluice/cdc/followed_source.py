"""A followed source and its state at one moment, and the one decision whether its slot may be resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sluice.cdc.connection import connect
from sluice.cdc.slots import (
    SlotState,
    SourceIdentity,
    format_lsn,
    identify,
    in_recovery,
    publication_of,
    slot_of,
    slot_state,
    wal_end,
)
from sluice.cdc.watermarks import SlotWatermark
from sluice.pipeline import Pipeline, Secret


@dataclass(frozen=True, slots=True)
class FollowedSource:
    """A CDC source of the pipeline: its name, its DSN, and the names of its slot and its publication."""

    source: str
    dsn: Secret
    slot: str
    publication: str

    @property
    def where(self) -> str:
        return f"source {self.source}"


class SourceState(NamedTuple):
    """The present state of a source. `slot`: None if the slot does not exist. `wal_end`: the LSN up to which the slot
    can be read. `in_recovery`: the server is a standby."""

    identity: SourceIdentity
    slot: SlotState | None
    wal_end: int
    in_recovery: bool = False


def followed_source(pipeline: Pipeline, name: str) -> FollowedSource:
    """The CDC source `name` of `pipeline`."""
    dsn = pipeline.cdc_sources()[name].dsn
    return FollowedSource(name, dsn, slot_of(pipeline, name), publication_of(pipeline, name))


def read_state(source: FollowedSource) -> SourceState:
    """Read the state of the source. Raises EnvironmentFault if the server or the slot cannot be followed, Transient if
    the server does not answer, and SettingsError if the DSN is a reference that cannot be resolved."""
    where, dsn = source.where, source.dsn.reveal()
    with connect(dsn, where, replication=True) as replication:
        identity = identify(replication, where)
    with connect(dsn, where) as connection:
        slot = slot_state(connection, source.slot, where)
        return SourceState(identity, slot, wal_end(connection, where), in_recovery(connection, where))


def why_not_resumable(source: FollowedSource, watermark: SlotWatermark, state: SourceState) -> str:
    """The reason why changes would be lost if the slot were resumed at `watermark`, as a clause; empty if none would.

    `state.wal_end` does not matter here: a caller that reads the state first gets a watermark that may be higher.
    """
    identity, slot = state.identity, state.slot
    published = f"everything up to {format_lsn(watermark.lsn)} is published"
    if (watermark.system_id, watermark.timeline) != (identity.system_id, identity.timeline):
        return (
            f"this is system {identity.system_id}, timeline {identity.timeline}; "
            f"the watermark is of system {watermark.system_id}, timeline {watermark.timeline}"
        )
    if watermark.slot != source.slot:
        return f"the watermark is of slot {watermark.slot}, not of slot {source.slot}"
    if slot is None:
        return f"slot {source.slot} does not exist any more; {published}"
    if slot.lost:
        return f"{why_lost(source.slot, slot.invalidation_reason)}; {published}"
    if slot.confirmed_flush_lsn > watermark.lsn:
        return (
            f"slot {source.slot} starts at {format_lsn(slot.confirmed_flush_lsn)}, and {published}: "
            "it was created again or moved, and the changes in between would be lost"
        )
    return ""


_LOST_BECAUSE = {
    "wal_removed": "the server has removed log that it needs, because of max_slot_wal_keep_size",
    "rows_removed": "VACUUM on the primary has removed catalog rows that it needs; set hot_standby_feedback = on",
    "wal_level_insufficient": "wal_level was not logical for some time",
    "idle_timeout": "no process read it for longer than idle_replication_slot_timeout",
}


def why_not_resumed(
    source: FollowedSource, watermark: SlotWatermark, state: SourceState, *, has_publication: bool
) -> str:
    """The reason why ingress-cdc refuses to resume at `watermark` at its start, as a clause; empty if it resumes.

    `state.wal_end` must be read after `watermark`: a published LSN cannot be above the end of a log that was not set
    back.
    """
    why = why_not_resumable(source, watermark, state)
    if why:
        return why
    if state.wal_end < watermark.lsn:
        return (
            f"the source's log ends at {format_lsn(state.wal_end)}, and everything up to "
            f"{format_lsn(watermark.lsn)} is published: the source was set back"
        )
    return "" if has_publication else "the publication does not exist any more: changes since then were not sent"


def why_lost(slot: str, invalidation_reason: str) -> str:
    """Why the server has invalidated the slot, as a clause. `invalidation_reason`: as in `SlotState`. Pure."""
    if not invalidation_reason:
        return f"the server has removed log that slot {slot} needs"
    because = _LOST_BECAUSE.get(invalidation_reason, "")
    return f"the server has invalidated slot {slot} ({invalidation_reason}){because and ': ' + because}"
