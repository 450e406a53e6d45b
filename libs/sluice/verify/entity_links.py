"""Checks the links behind raw, entity by entity and round by round: contributions, canonical records, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluice.entities import EntityContract
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in, read_records
from sluice.names import MERGER, SINK_POSTGRES
from sluice.provenance import RawRef
from sluice.verify.claims import MapperFacts
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_check import EntityCheck
from sluice.verify.entity_logs import EntityPartition, NewestCanonical, entity_of, repetition
from sluice.verify.offsets import VisibleOffsets, rounds, spans_to
from sluice.verify.report import place
from sluice.verify.row_check import ProvenanceCheck, RowCheck
from sluice.verify.scan_raw import RawScan


class EntityLinks:
    """Checks one entity after the other. `merged`: the offsets of contributions below which the merger has processed
    all records. `visible`: gets the offset of each record that is read, for the ledger's recount."""

    def __init__(
        self,
        context: VerifyContext,
        raw: RawScan,
        facts: MapperFacts,
        merged: Mapping[Partition, int],
        visible: VisibleOffsets,
        sinks: Sequence[OpenSink],
    ) -> None:
        self._context = context
        self._merged = merged
        self._visible = visible
        self._sinks = sinks
        self._unmerged_dead = context.dead_letters(MERGER).places
        self._unstored_dead = context.dead_letters(SINK_POSTGRES).places if sinks else set[RawRef]()
        self._provenance = ProvenanceCheck(context, raw.raw)
        self._entities = EntityCheck(
            context, raw.expected, facts, self._unmerged_dead, None if sinks else self._provenance
        )

    def check(self, contract: EntityContract) -> None:
        """Read the entity's logs and rows once, a round of partitions at a time."""
        context, names = self._context, self._context.pipeline.names
        both = (names.contributions(contract.name), names.canonical(contract.name))
        spans = spans_to(context.reader, {at: end for at, end in self._visible.ends.items() if at[0] in both})
        offsets = {p: sum(spans[t, p][1] - spans[t, p][0] for t in both) for p in range(context.pipeline.partitions)}
        tables = [RowCheck(context, sink, contract, self._unstored_dead) for sink in self._sinks]
        for partitions in rounds(offsets):
            logs = {p: EntityPartition(contract, (both[0], p), (both[1], p)) for p in partitions}
            for record in read_records(context.reader, {at: span for at, span in spans.items() if at[1] in logs}):
                self._add(record, logs[record.partition])
            for one in logs.values():
                self._unreadable(one)
                self._entities.check(one)
            for table in tables:
                table.check(logs, self._provenance)
        for table in tables:
            table.foreign_partitions()

    def _add(self, record: Record, logs: EntityPartition) -> None:
        self._visible.add(record.at, record.offset)
        if record.at == logs.canonical_at:
            self._canonical(record, logs)
            return
        self._context.report.checked["contributions"] += 1
        logs.contributions.add(record)
        if record.offset >= self._merged[record.at]:
            logs.unmerged.add(entity_of(record.key))

    def _canonical(self, record: Record, logs: EntityPartition) -> None:
        """Note a canonical record; report what is wrong with it after the record of its id before it (I2)."""
        self._context.report.checked["canonical records"] += 1
        entity_id, content = (record.key or b"").decode(errors="replace"), record.headers.get(CONTENT_HEADER)
        newest = NewestCanonical(
            record.offset,
            record.value,
            content.decode(errors="replace") if content else None,
            number_in(record.headers.get(REVISION_HEADER)),
        )
        before = logs.canonical.get(entity_id)
        logs.canonical[entity_id] = newest
        if before is not None and (wrong := repetition(before, newest)):
            self._context.report.found("I2", record.place, entity_id, wrong)
        for sink in self._sinks:
            if record.offset >= sink.processed[record.at]:
                logs.unstored[sink.name].add(entity_id)

    def _unreadable(self, logs: EntityPartition) -> None:
        at = logs.contributions_at
        for offset in logs.contributions.unreadable:
            if offset < self._merged[at] and RawRef(*at, offset) not in self._unmerged_dead:
                what = "is no contribution, and the merger has no dead letter of it"
                self._context.report.found("contributions-canonical", place(*at, offset), "", what)
