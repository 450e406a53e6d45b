"""The links behind raw, entity by entity and round by round: contributions, canonical records, rows."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.entities import EntityContract
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka.record import Record, number_in
from sluice.names import MERGER, SINK_POSTGRES
from sluice.provenance import RawRef
from sluice.verify.claims import MapperFacts
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_check import EntityCheck
from sluice.verify.entity_logs import (
    EntityRound,
    EntityTopics,
    NewestCanonical,
    ProcessedOffsets,
    entity_of,
    repetition,
)
from sluice.verify.reading import Spans, records, rounds, spans_to
from sluice.verify.report import place
from sluice.verify.row_check import ExpectedRow, ProvenanceCheck, RowCheck, golden_says
from sluice.verify.scan_raw import RawScan
from sluice.verify.visible import VisibleOffsets


class EntityLinks:
    """Checks one entity after the other. Adds every offset that is read to `visible`, for the ledger's recount."""

    def __init__(
        self,
        context: VerifyContext,
        raw: RawScan,
        processed: ProcessedOffsets,
        visible: VisibleOffsets,
        sinks: Sequence[OpenSink],
    ) -> None:
        self._context = context
        self._raw = raw
        self._processed = processed
        self._visible = visible
        self._sinks = sinks
        self._unmerged_dead = context.dead_letters(MERGER).places
        self._unstored_dead = context.dead_letters(SINK_POSTGRES).places if sinks else set[RawRef]()
        self._provenance = ProvenanceCheck(context, raw.raw)

    def check(self, contract: EntityContract, facts: MapperFacts) -> None:
        """Read the entity's logs and rows once, a round of partitions at a time."""
        context, names = self._context, self._context.pipeline.names
        topics = EntityTopics(contract, names.contributions(contract.name), names.canonical(contract.name))
        both, count = (topics.contributions, topics.canonical), context.pipeline.partitions
        spans = spans_to(context.reader, {at: end for at, end in self._visible.ends.items() if at[0] in both})
        entities = EntityCheck(context, topics, self._unmerged_dead)
        tables = {sink.name: RowCheck(context, sink, topics, self._unstored_dead) for sink in self._sinks}
        for partitions in rounds({p: sum(spans[t, p][1] - spans[t, p][0] for t in both) for p in range(count)}):
            found = self._read(topics, {at: span for at, span in spans.items() if at[1] in partitions})
            self._unreadable(found)
            expected = {p: self._expected_rows(found, p, entities, facts) for p in partitions}
            for sink, table in tables.items():
                table.check(expected, found.unstored[sink], self._provenance)
        for table in tables.values():
            table.foreign_partitions()

    def _read(self, topics: EntityTopics, spans: Spans) -> EntityRound:
        """Read a round; report what is wrong in the sequence of canonical records of one id (I2)."""
        found = EntityRound(unstored={sink: set() for sink in self._processed.sinks})
        for record in records(self._context.reader, spans):
            self._visible.add(record.at, record.offset)
            if record.topic == topics.contributions:
                self._contribution(record, found)
            else:
                self._canonical(record, found)
        return found

    def _contribution(self, record: Record, found: EntityRound) -> None:
        self._context.report.checked["contributions"] += 1
        claim = found.contributions.add(record.at, record.offset, record.key, record.value)
        if record.offset >= self._processed.merger[record.at]:
            found.unmerged.add(claim.entity_id if claim else entity_of(record.key))

    def _canonical(self, record: Record, found: EntityRound) -> None:
        self._context.report.checked["canonical records"] += 1
        entity_id, content = (record.key or b"").decode(errors="replace"), record.headers.get(CONTENT_HEADER)
        newest = NewestCanonical(
            record.offset,
            record.value,
            content.decode(errors="replace") if content else None,
            number_in(record.headers.get(REVISION_HEADER)),
        )
        by_id = found.canonical.setdefault(record.at, {})
        before = by_id.get(entity_id)
        by_id[entity_id] = newest
        if before is not None and (wrong := repetition(before, newest)):
            self._context.report.found("I2", record.place, entity_id, wrong)
        for sink, processed in self._processed.sinks.items():
            if record.offset >= processed[record.at]:
                found.unstored[sink].add(entity_id)

    def _expected_rows(
        self, found: EntityRound, partition: int, entities: EntityCheck, facts: MapperFacts
    ) -> dict[str, ExpectedRow]:
        """Check the entities of a partition; without a sink also the provenance in their canonical records."""
        at = (entities.topics.canonical, partition)
        expected = {entity_id: ExpectedRow(one, None) for entity_id, one in found.canonical.get(at, {}).items()}
        for entity_id, newest, decoded in entities.check(found, partition, self._raw.expected, facts):
            expected[entity_id] = ExpectedRow(newest, golden_says(entities.topics.contract, decoded))
            if not self._sinks:
                self._provenance.check(place(*at, newest.offset), entity_id, decoded.sluice["contributors"])
        return expected

    def _unreadable(self, found: EntityRound) -> None:
        for at, offset in found.contributions.unreadable:
            if offset < self._processed.merger[at] and RawRef(*at, offset) not in self._unmerged_dead:
                what = "is no contribution, and the merger has no dead letter of it"
                self._context.report.found("contributions-canonical", place(*at, offset), "", what)
