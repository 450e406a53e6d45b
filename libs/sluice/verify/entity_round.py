"""A round of one entity: some partitions of its contributions and of its canonical records, read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.entities import EntityContract
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in
from sluice.verify.canonical_log import NewestCanonical, repetition
from sluice.verify.context import VerifyContext
from sluice.verify.contribution_log import ContributionLog, entity_of
from sluice.verify.reading import Spans, records
from sluice.verify.visible import VisibleOffsets


class EntityTopics(NamedTuple):
    """An entity's contract and its two co-partitioned topics."""

    contract: EntityContract
    contributions: str
    canonical: str


class ProcessedOffsets(NamedTuple):
    """The offsets up to which the merger (contributions), and each sink by its name (canonical), may be judged."""

    merger: Mapping[Partition, int]
    sinks: Mapping[str, Mapping[Partition, int]]


@dataclass(slots=True)
class EntityRound:
    """What a round keeps in memory. `canonical`: the newest record by partition and id. `unmerged`: ids with
    contributions that the merger has not processed. `unstored`: by sink, ids with canonical records that it has not."""

    contributions: ContributionLog = field(default_factory=ContributionLog)
    canonical: dict[Partition, dict[str, NewestCanonical]] = field(default_factory=dict)
    unmerged: set[str] = field(default_factory=set)
    unstored: dict[str, set[str]] = field(default_factory=dict)


class RoundReader:
    """Reads rounds of one entity, and reports what is wrong in the sequence of canonical records of one id (I2)."""

    def __init__(
        self, context: VerifyContext, topics: EntityTopics, processed: ProcessedOffsets, visible: VisibleOffsets
    ) -> None:
        self._context = context
        self._report = context.report
        self._topics = topics
        self._processed = processed
        self._visible = visible

    def read(self, spans: Spans) -> EntityRound:
        """Blocks until every span is read."""
        found = EntityRound(unstored={sink: set() for sink in self._processed.sinks})
        for record in records(self._context.reader, spans):
            self._visible.add(record.at, record.offset)
            if record.topic == self._topics.contributions:
                self._contribution(record, found)
            else:
                self._canonical(record, found)
        return found

    def _contribution(self, record: Record, found: EntityRound) -> None:
        self._report.checked["contributions"] += 1
        claim = found.contributions.add(record.at, record.offset, record.key, record.value)
        if record.offset >= self._processed.merger[record.at]:
            found.unmerged.add(claim.entity_id if claim else entity_of(record.key))

    def _canonical(self, record: Record, found: EntityRound) -> None:
        self._report.checked["canonical records"] += 1
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
            self._report.found("I2", record.place, entity_id, wrong)
        for sink, processed in self._processed.sinks.items():
            if record.offset >= processed[record.at]:
                found.unstored[sink].add(entity_id)
