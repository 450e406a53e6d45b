"""The links behind raw, entity by entity and round by round: contributions, canonical records, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluice.entities import EntityContract
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader
from sluice.names import MERGER, SINK_POSTGRES
from sluice.provenance import RawRef
from sluice.verify.claims import MapperFacts
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_round import EntityRound, EntityTopics, ProcessedOffsets, RoundReader
from sluice.verify.reading import rounds, spans_to
from sluice.verify.report import place
from sluice.verify.rows import golden_says
from sluice.verify.scan_entity import EntityCheck
from sluice.verify.scan_raw import RawScan
from sluice.verify.scan_rows import ExpectedRow, ProvenanceCheck, RowCheck
from sluice.verify.visible import VisibleOffsets


class EntityLinks:
    """Checks one entity after the other. `visible` learns every offset read, for the ledger's recount."""

    def __init__(
        self,
        scope: VerifyContext,
        raw: RawScan,
        done: ProcessedOffsets,
        visible: VisibleOffsets,
        sinks: Sequence[OpenSink],
    ) -> None:
        self._scope = scope
        self._raw = raw
        self._done = done
        self._visible = visible
        self._sinks = sinks
        self._unmerged_dead = scope.dead_letters(MERGER).places
        self._unstored_dead = scope.dead_letters(SINK_POSTGRES).places if sinks else set[RawRef]()
        raw_topics = {(m.source, m.stream): scope.pipeline.names.raw(m.source, m.stream) for m in scope.mappings}
        self._provenance = ProvenanceCheck(raw.raw, raw_topics, scope.reader.ends, scope.report)

    def check(self, contract: EntityContract, facts: MapperFacts) -> None:
        """Read the entity's logs and rows once, a round of partitions at a time."""
        scope, names, count = self._scope, self._scope.pipeline.names, self._scope.pipeline.partitions
        topics = EntityTopics(contract, names.contributions(contract.name), names.canonical(contract.name), count)
        both = (topics.contributions, topics.canonical)
        spans = spans_to(scope.reader, {at: end for at, end in self._visible.ends.items() if at[0] in both})
        reading = RoundReader(topics, self._done, self._visible, scope.report)
        order, dead = scope.pipeline.source_order, self._unmerged_dead
        check = EntityCheck(topics, order, scope.decode, dead, scope.report, scope.candidates)
        tables = {sink.name: self._row_check(sink, topics) for sink in self._sinks}
        for partitions in rounds({p: sum(spans[t, p][1] - spans[t, p][0] for t in both) for p in range(count)}):
            made = reading.read(scope.reader, {at: span for at, span in spans.items() if at[1] in partitions})
            self._unreadable(made)
            self._round(made, partitions, check, facts, tables)
        for table in tables.values():
            table.strays(range(count))

    def _round(
        self,
        made: EntityRound,
        partitions: Sequence[int],
        check: EntityCheck,
        facts: MapperFacts,
        tables: Mapping[str, RowCheck],
    ) -> None:
        newest: dict[int, dict[str, ExpectedRow]] = {}
        for p in partitions:
            at = (check.topics.canonical, p)
            newest[p] = {
                entity_id: ExpectedRow(one, None) for entity_id, one in made.goldens.newest.get(at, {}).items()
            }
            for entity_id, golden, decoded in check.check(made, p, self._raw.expected, facts):
                newest[p][entity_id] = ExpectedRow(golden, golden_says(check.topics.contract, decoded))
                if not tables:
                    self._provenance.check(place(*at, golden.offset), entity_id, decoded.sluice["contributors"])
        for sink, table in tables.items():
            table.check(newest, made.unstored[sink], self._provenance)

    def _row_check(self, sink: OpenSink, topics: EntityTopics) -> RowCheck:
        table = GoldenTable(sink.schema, topics.contract)
        rows, name = GoldenReader(sink.connection, table), f"{table.schema}.{table.name}"
        return RowCheck(
            rows,
            name,
            topics.canonical,
            self._unstored_dead,
            self._scope.decode,
            self._scope.report,
            self._scope.candidates,
        )

    def _unreadable(self, made: EntityRound) -> None:
        for at, offset in made.contributions.unreadable:
            if offset < self._done.merger[at] and RawRef(*at, offset) not in self._unmerged_dead:
                what = "is no contribution, and no dead letter of the merger tells of it"
                self._scope.report.found("contributions-canonical", place(*at, offset), "", what)
