"""Decides at a start whether to resume a slot, read the whole source, or refuse. `table_changes` decides about each
table.

A slot that was dropped and created again starts later than the stored watermark. It does not contain the changes in
between, and Postgres reports no error. Therefore the stage compares the source with the watermark. If changes could be
lost, the stage refuses and names the command that repairs the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sluice.cdc.connection import connect
from sluice.cdc.followed_source import FollowedSource, SourceState, read_state, why_not_resumable, why_not_resumed
from sluice.cdc.replication import ReplicationStream
from sluice.cdc.slots import slot_state, wal_end
from sluice.cdc.table_facts import publication_facts
from sluice.cdc.timelines import on_timeline
from sluice.cdc.watermarks import SlotWatermark, SourceWatermarks
from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, LogReader
from sluice_ingress_cdc.catalog_check import RawTopic
from sluice_ingress_cdc.settings import SlotSettings


class SourceAtStart(NamedTuple):
    """A source and its state at a start. `tables`: the number of its tables in the pipeline. `raw_is_empty`: whether
    all raw topics are empty, if there is no watermark. `snapshots_lsn`: the tables' snapshots contain commits up to
    this LSN."""

    followed: FollowedSource
    state: SourceState
    has_publication: bool
    tables: int
    raw_is_empty: bool
    snapshots_lsn: int = 0


class FullSnapshot(NamedTuple):
    """The plan to drop the slot if it exists, create it again, and read all tables as `epoch`."""

    epoch: int


def read_source_at_start(
    slot: SlotSettings, topics: Mapping[str, RawTopic], kafka: KafkaSettings, stored: SourceWatermarks
) -> SourceAtStart:
    """Read the state of the source. Raises EnvironmentFault if the server or the slot cannot be followed, and Transient
    if the server does not answer. `stored`: the durable watermarks."""
    state = read_state(slot)
    with connect(slot.dsn.reveal(), slot.where) as connection:
        has_publication = publication_facts(connection, slot.publication, slot.where) is not None
    raw_is_empty = stored.slot is not None or _all_empty(kafka, topics)
    snapshots_lsn = max((table.since_lsn for table in stored.tables.values()), default=0)
    return SourceAtStart(slot, state, has_publication, len(slot.tables), raw_is_empty, snapshots_lsn)


def plan_start(
    stored: SlotWatermark | None, requested_epoch: int, source: SourceAtStart, *, reads_when_needed: bool = False
) -> SlotWatermark | FullSnapshot:
    """Decide how to start: the watermark to resume from, or the plan of a full snapshot. If the epoch of the watermark
    is above that of `stored`, it must be durable before a record of it is published. Pure.

    `requested_epoch`: the epoch of an operator's request to read the source again, 0 if none. `reads_when_needed`: read
    the source again if changes would be lost. Otherwise EnvironmentFault is raised then; it names the source, the slot,
    the LSNs and the repair.
    """
    if source.state.in_recovery and source.state.slot is not None and source.state.slot.synced:
        raise EnvironmentFault(
            _where(source),
            "this server is a standby, and its slot is a copy of the primary's slot: it can be read after a promotion",
            "follow the primary",
        )
    plan = _plan(stored, requested_epoch, source, reads_when_needed=reads_when_needed)
    if isinstance(plan, FullSnapshot) and source.state.in_recovery:
        raise EnvironmentFault(
            _where(source),
            "this server is a standby: tables cannot be read there, because that needs messages in the log",
            "follow the primary",
        )
    return plan


def _plan(
    stored: SlotWatermark | None, requested_epoch: int, source: SourceAtStart, *, reads_when_needed: bool
) -> SlotWatermark | FullSnapshot:
    if stored is None:
        return _first_start(requested_epoch, source)
    if requested_epoch > stored.epoch:
        return FullSnapshot(requested_epoch)
    if not stored.lsn:
        # The epoch was raised, but the process ended before it created the slot: no record of this epoch is published.
        return FullSnapshot(stored.epoch)
    resumed = on_timeline(stored, source.state.identity, source.snapshots_lsn)
    if isinstance(resumed, str):
        why, resumed = resumed, stored
    else:
        why = why_not_resumed(source.followed, resumed, source.state, has_publication=source.has_publication)
    if why and reads_when_needed:
        return FullSnapshot(stored.epoch + 1)
    if why:
        raise refused(source.followed, source.tables, why)
    return resumed


def require_same_slot(slot: SlotSettings, watermark: SlotWatermark, stream: ReplicationStream) -> int:
    """Check that the slot which `stream` reads still contains every change above `watermark`. Call it before an LSN is
    confirmed. Returns the LSN that the slot starts at.

    Tables may have been read for hours between the check of the start and the start of the stream. Until the stream was
    open, anybody could drop the slot and create it again. Raises EnvironmentFault as `plan_start` does.
    """
    with connect(slot.dsn.reveal(), slot.where) as connection:
        found = slot_state(connection, slot.slot, slot.where)
        end = wal_end(connection, slot.where)
    why = why_not_resumable(slot, watermark, SourceState(stream.identity, found, end))
    if why or found is None:
        raise refused(slot, len(slot.tables), why)
    return found.confirmed_flush_lsn


def refused(followed: FollowedSource, tables: int, why: str) -> EnvironmentFault:
    """The fault of a slot that may have lost changes, with the command that repairs it. `tables`: how many tables the
    source has in the pipeline. `why`: as a clause. Pure."""
    return EnvironmentFault(
        f"{followed.where}, slot {followed.slot}",
        why,
        f"run `sluice cdc resnapshot {followed.source}`: it reads all {tables} tables of the source "
        "again, through a new slot; an unchanged row is not written again, and a deleted row is retracted",
    )


def _first_start(requested_epoch: int, source: SourceAtStart) -> FullSnapshot:
    if source.raw_is_empty or requested_epoch:
        # No published record depends on a slot of our name, or an operator requested a new epoch: create the slot
        # again.
        return FullSnapshot(max(requested_epoch, 1))
    raise EnvironmentFault(
        _where(source),
        "there is no watermark, and the raw topics contain records: their epochs are unknown",
        f"run `sluice cdc resnapshot {source.followed.source} --epoch N` with N above every epoch in those topics",
    )


def _where(source: SourceAtStart) -> str:
    return f"{source.followed.where}, slot {source.followed.slot}"


def _all_empty(kafka: KafkaSettings, topics: Mapping[str, RawTopic]) -> bool:
    with LogReader(kafka) as reader:
        ends = reader.ends([(t.name, p) for t in topics.values() for p in range(t.partitions)])
    return not any(ends.values())
