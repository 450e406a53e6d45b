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
from sluice.cdc.slots import SlotState, SourceIdentity, format_lsn, identify, slot_state, wal_end
from sluice.cdc.table_facts import publication_facts
from sluice.cdc.watermarks import SlotWatermark
from sluice.errors import EnvironmentFault
from sluice.kafka import KafkaSettings, LogReader
from sluice_ingress_cdc.catalog_check import RawTopic
from sluice_ingress_cdc.settings import SlotSettings


class SourceAtStart(NamedTuple):
    """The state of the source at a start. `wal_end`: the LSN up to which its log is flushed. `tables`: the number of
    its tables in the pipeline. `raw_is_empty`: whether all raw topics are empty, if there is no watermark."""

    source: str
    slot_name: str
    identity: SourceIdentity
    slot: SlotState | None
    wal_end: int
    has_publication: bool
    tables: int
    raw_is_empty: bool


class FullSnapshot(NamedTuple):
    """The plan to drop the slot if it exists, create it again, and read all tables as `epoch`."""

    epoch: int


def read_source_at_start(
    slot: SlotSettings, topics: Mapping[str, RawTopic], kafka: KafkaSettings, *, first_start: bool
) -> SourceAtStart:
    """Read the state of the source. Raises EnvironmentFault if the server or the slot cannot be followed, and Transient
    if the server does not answer. `first_start`: there is no watermark."""
    where, dsn = slot.where, slot.dsn.reveal()
    with connect(dsn, where, replication=True) as replication:
        identity = identify(replication, where)
    with connect(dsn, where) as connection:
        return SourceAtStart(
            source=slot.source,
            slot_name=slot.slot,
            identity=identity,
            slot=slot_state(connection, slot.slot, where),
            wal_end=wal_end(connection, where),
            has_publication=publication_facts(connection, slot.publication, where) is not None,
            tables=len(slot.tables),
            raw_is_empty=not first_start or _all_empty(kafka, topics),
        )


def plan_start(
    stored: SlotWatermark | None, requested_epoch: int, source: SourceAtStart
) -> SlotWatermark | FullSnapshot:
    """Decide how to start: the watermark to resume from, or the plan of a full snapshot. Pure.

    `requested_epoch`: the epoch of an operator's request to read the source again, 0 if none. Raises EnvironmentFault
    if changes would be lost; the fault names the source, the slot, the LSNs and the repair.
    """
    if stored is None:
        return _first_start(requested_epoch, source)
    if requested_epoch > stored.epoch:
        return FullSnapshot(requested_epoch)
    if not stored.lsn:
        # The epoch was raised, but the process ended before it created the slot: no record of this epoch is published.
        return FullSnapshot(stored.epoch)
    why = _why_not_resume(stored, source)
    if why is not None:
        raise EnvironmentFault(
            f"source {source.source}, slot {source.slot_name}",
            why,
            f"run `sluice cdc resnapshot {source.source}`: it reads all {source.tables} tables of the source again, "
            "through a new slot; an unchanged row is not written again, and a deleted row is retracted",
        )
    return stored


def _first_start(requested_epoch: int, source: SourceAtStart) -> FullSnapshot:
    if source.raw_is_empty or requested_epoch:
        # No published record depends on a slot of our name, or an operator requested a new epoch: create the slot
        # again.
        return FullSnapshot(max(requested_epoch, 1))
    raise EnvironmentFault(
        f"source {source.source}, slot {source.slot_name}",
        "there is no watermark, and the raw topics contain records: their epochs are unknown",
        f"run `sluice cdc resnapshot {source.source} --epoch N` with N above every epoch in those topics",
    )


def _why_not_resume(stored: SlotWatermark, source: SourceAtStart) -> str | None:
    published = f"everything up to {format_lsn(stored.lsn)} is published"
    identity, slot = source.identity, source.slot
    if (stored.system_id, stored.timeline) != (identity.system_id, identity.timeline):
        return (
            f"this is system {identity.system_id}, timeline {identity.timeline}; "
            f"the watermark is of system {stored.system_id}, timeline {stored.timeline}"
        )
    if stored.slot != source.slot_name:
        return f"the watermark is of slot {stored.slot}"
    if slot is None:
        return f"the slot does not exist any more; {published}"
    if slot.lost:
        return f"the server has removed log that the slot needs; {published}"
    if slot.confirmed_flush_lsn > stored.lsn:
        return (
            f"the slot starts at {format_lsn(slot.confirmed_flush_lsn)}, and {published}: "
            "it was created again or moved, and the changes in between would be lost"
        )
    if source.wal_end < stored.lsn:
        return f"the source's log ends at {format_lsn(source.wal_end)}, and {published}: the source was set back"
    if not source.has_publication:
        return "the publication does not exist any more: changes since then were not sent"
    return None


def _all_empty(kafka: KafkaSettings, topics: Mapping[str, RawTopic]) -> bool:
    with LogReader(kafka) as reader:
        ends = reader.ends([(t.name, p) for t in topics.values() for p in range(t.partitions)])
    return not any(ends.values())
