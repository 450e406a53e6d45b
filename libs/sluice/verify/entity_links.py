"""Checks the links behind raw, entity by entity and round by round: claims with raw records, canonical records with the
merge of their claims, rows with canonical records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluice.entities import EntityContract
from sluice.errors import DeadRecord
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in, read_records
from sluice.names import MERGER, SINK_POSTGRES
from sluice.provenance import Contribution, RawRef
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.claims import MapperFacts, judge
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_logs import (
    EntityPartition,
    NewestCanonical,
    entity_of,
    log_findings,
    merge_findings,
    repetition,
)
from sluice.verify.offsets import VisibleOffsets, rounds, spans_to
from sluice.verify.report import Check, place
from sluice.verify.row_check import ProvenanceCheck, RowCheck, golden_says
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
        self._checked = context.report.checked
        self._raw = raw
        self._facts = facts
        self._merged = merged
        self._visible = visible
        self._sinks = sinks
        self._unmerged_dead = context.dead_letters(MERGER).places
        self._unstored_dead = context.dead_letters(SINK_POSTGRES).places if sinks else set[RawRef]()
        self._provenance = ProvenanceCheck(context, raw.raw)

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
                self._compare(one)
            for table in tables:
                table.check(logs, self._provenance)
        for table in tables:
            table.foreign_partitions()

    def _add(self, record: Record, logs: EntityPartition) -> None:
        self._visible.add(record.at, record.offset)
        if record.at == logs.canonical_at:
            self._canonical(record, logs)
            return
        self._checked["contributions"] += 1
        logs.contributions.add(record)
        if record.offset >= self._merged[record.at]:
            logs.unmerged.add(entity_of(record.key))

    def _canonical(self, record: Record, logs: EntityPartition) -> None:
        """Store the newest canonical record of an id; report it if it repeats the record of the id before it (I2)."""
        self._checked["canonical records"] += 1
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

    def _compare(self, logs: EntityPartition) -> None:
        """Compare every claim of a partition with raw, then every canonical record with the merge of its claims."""
        at, highest = logs.contributions_at, logs.contributions.highest
        keys_of: dict[str, list[bytes]] = {}
        for key, one in highest.items():
            entity_id = entity_of(key)
            keys_of.setdefault(entity_id, []).append(key)
            for check, what in log_findings(one):
                where = place(*at, one.last_offset)
                self._context.candidates.append(Candidate(check, where, key.decode(), what, (at, entity_id)))
        for entity_id, keys in keys_of.items():
            self._require_place("raw-contributions", at, entity_id)
            claims = [highest[key].claim for key in keys]
            for claim in claims:
                self._claim(logs, claim)
            self._merge(logs, entity_id, claims)
        for entity_id in logs.canonical.keys() - keys_of.keys():
            self._merge(logs, entity_id, [])

    def _claim(self, logs: EntityPartition, claim: Contribution) -> None:
        self._checked["claims"] += 1
        key = claim.key
        verdict = judge(claim, self._raw.expected.pop(key, None), self._facts)
        if verdict.kind == "finding":
            where = place(*logs.contributions_at, logs.contributions.highest[key].offset)
            watched = (claim.raw.at, claim.source_key)
            self._context.candidates.append(Candidate("raw-contributions", where, key.decode(), verdict.what, watched))
        elif verdict.kind != "ok":
            self._checked[verdict.kind] += 1

    def _merge(self, logs: EntityPartition, entity_id: str, claims: Sequence[Contribution]) -> None:
        """Compare an entity's newest canonical record with the merge of its claims; set the digest `says` of the
        record.

        Without a sink, its provenance is checked here; with a sink, that of the row is checked.
        """
        at, newest = logs.canonical_at, logs.canonical.get(entity_id)
        where = place(*at, newest.offset) if newest else f"{at[0]}/{at[1]}"
        decoded, unreadable = self._decoded(newest)
        if newest is not None:
            self._require_place("contributions-canonical", at, entity_id)
            if decoded is not None:
                newest.says = golden_says(logs.contract, decoded)
                if not self._sinks:
                    self._provenance.check(where, entity_id, decoded.sluice["contributors"])
        if entity_id in logs.unmerged:
            return
        self._checked["entities"] += 1
        order = self._context.pipeline.source_order
        wrong = [unreadable] if unreadable else [*merge_findings(logs.contract, claims, order, newest, decoded)]
        read_from, highest = logs.contributions_at, logs.contributions.highest
        if wrong and any(RawRef(*read_from, highest[claim.key].offset) in self._unmerged_dead for claim in claims):
            # The merger parked a contribution because its merge is too large for a topic: the older record stays
            # current.
            self._checked["parked entities"] += 1
            return
        self._context.candidates.extend(
            Candidate("contributions-canonical", where, entity_id, what, (read_from, entity_id)) for what in wrong
        )

    def _require_place(self, check: Check, at: Partition, entity_id: str) -> None:
        belongs = murmur2_partition(entity_id.encode(), self._context.pipeline.partitions)
        if belongs != at[1]:
            self._context.report.found(check, f"{at[0]}/{at[1]}", entity_id, f"belongs in partition {belongs}")

    def _decoded(self, newest: NewestCanonical | None) -> tuple[DecodedCanonical | None, str]:
        """The value of a canonical record (None if it has none), and why it cannot be read."""
        if newest is None or newest.value is None:
            return None, ""
        try:
            return self._context.decode(newest.value), ""
        except DeadRecord as error:
            return None, f"cannot be read ({error.code})"
