"""Some partitions of one entity read side by side: contributions and the canonical records made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from sluice.entities import EntityContract
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.verify.canonical_log import CanonicalLog, NewestCanonical
from sluice.verify.claims import ContributionLog
from sluice.verify.reading import Spans, records
from sluice.verify.report import Report, place
from sluice.verify.visible import VisibleOffsets


class EntityTopics(NamedTuple):
    """An entity's contract and its two co-partitioned topics."""

    contract: EntityContract
    contributions: str
    canonical: str
    partitions: int


class ProcessedOffsets(NamedTuple):
    """How far the merger (contributions), and each sink (canonical) by its name, may be judged."""

    merger: Mapping[Partition, int]
    sinks: Mapping[str, Mapping[Partition, int]]


@dataclass(slots=True)
class EntityRound:
    """What is in memory of a round. `unmerged`: ids with contributions that the merger has not done; `unstored`: by
    sink, ids with canonical records that it has not done."""

    contributions: ContributionLog = field(default_factory=ContributionLog)
    goldens: CanonicalLog = field(default_factory=CanonicalLog)
    unmerged: set[str] = field(default_factory=set)
    unstored: dict[str, set[str]] = field(default_factory=dict)


class RoundReader:
    """Reads rounds of one entity, reports what is wrong among the records of one canonical id (I2)."""

    def __init__(self, topics: EntityTopics, done: ProcessedOffsets, visible: VisibleOffsets, report: Report) -> None:
        self._topics = topics
        self._done = done
        self._visible = visible
        self._report = report

    def read(self, reader: LogReader, spans: Spans) -> EntityRound:
        made = EntityRound(unstored={sink: set() for sink in self._done.sinks})
        for record in records(reader, spans):
            self._visible.add(record.at, record.offset)
            if record.topic == self._topics.contributions:
                self._contribution(record, made)
            else:
                self._golden(record, made)
        return made

    def _contribution(self, record: Record, made: EntityRound) -> None:
        self._report.checked["contributions"] += 1
        claim = made.contributions.add(record.at, record.offset, record.key, record.value)
        if record.offset >= self._done.merger[record.at]:
            made.unmerged.add(claim.entity_id if claim else entity_of(record.key))

    def _golden(self, record: Record, made: EntityRound) -> None:
        self._report.checked["canonical records"] += 1
        entity_id = (record.key or b"").decode(errors="replace")
        content, revision = record.headers.get(CONTENT_HEADER), record.headers.get(REVISION_HEADER, b"")
        golden = NewestCanonical(
            record.offset,
            record.value,
            content.decode(errors="replace") if content else None,
            int(revision) if revision.isdigit() else None,
        )
        wrong = made.goldens.add(record.at, entity_id, golden)
        if wrong:
            self._report.found("I2", place(*record[:3]), entity_id, wrong)
        for sink, done in self._done.sinks.items():
            if record.offset >= done[record.at]:
                made.unstored[sink].add(entity_id)


def entity_of(key: bytes | None) -> str:
    """The entity id in a contribution's key; a NUL for what is none."""
    try:
        return str(orjson.loads(key or b"")[0])
    except (ValueError, LookupError, TypeError):
        return "\0"
