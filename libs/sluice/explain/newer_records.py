"""Finds source records that are newer than the current claims: parked as dead letters, or not read by the mapper yet.

The older value stays current while a newer record is parked. A person who reads the value must know that it is old.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, NamedTuple

from msgspec.structs import asdict

from sluice.errors import DeadRecord, EnvironmentFault, Transient
from sluice.headers import CAUSE_HEADER, CONNECT
from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, read_records
from sluice.lag import StageInputs, committed_offsets
from sluice.lag.dead_letter_counts import parked_ms_of
from sluice.lag.not_read import NotRead, partitions_not_read, read_input_facts
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw import raw_record
from sluice.stage.dead_letters import origin_of

# At most this many unread offsets of each partition are searched, the last ones.
UNREAD_OFFSETS_MAX = 50_000
NOT_READ_YET = "the mapper has not read it yet; `sluice lag` shows how far it is behind"

SourceKey = tuple[str, str]
"""The raw topic and the source key of a source record."""
ClaimedBy = tuple[str, str, str, str]
"""The source, stream, source key and mapping of a claim."""


class NewerRecord(NamedTuple):
    """A raw record that is newer than a claim. `why`: the reason why the record makes no claim; `since_ms`: when that
    started (Unix ms), None if unknown. A parked record also has the place of its dead letter and the fingerprint of its
    `cause`."""

    state: Literal["parked", "unread"]
    raw: RawRef
    position: Position
    why: str
    since_ms: int | None = None
    dead_letter: RawRef | None = None
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "position": str(self.position),
            "raw": asdict(self.raw),
            "dead_letter": None if self.dead_letter is None else asdict(self.dead_letter),
        }


def newest_by_source_key(
    reader: LogReader, kafka: KafkaSettings, pipeline: Pipeline, wanted: Iterable[SourceKey]
) -> dict[SourceKey, NewerRecord]:
    """By source key, the newest parked or unread record. The claims of the key may be newer than this record.

    Blocks: reads the mapper's dead letters and its unread input. Raises EnvironmentFault or Transient if Kafka cannot
    be read.
    """
    keys = set(wanted)
    found: dict[SourceKey, NewerRecord] = {}
    for key, one in chain(_parked(reader, pipeline, keys), _unread(reader, kafka, pipeline, keys)):
        if key not in found or one.position >= found[key].position:
            found[key] = one
    return found


def newer_than(claims: Iterable[Contribution], newest: Mapping[SourceKey, NewerRecord]) -> dict[ClaimedBy, NewerRecord]:
    """By claim, the parked or unread record that is newer than the claim. Retracted claims are left out."""
    found: dict[ClaimedBy, NewerRecord] = {}
    for claim in claims:
        newer = newest.get((claim.raw.topic, claim.source_key))
        if newer is not None and not claim.retracted and newer.position > claim.position:
            found[claim.source, claim.stream, claim.source_key, claim.mapping] = newer
    return found


def _parked(reader: LogReader, pipeline: Pipeline, keys: set[SourceKey]) -> Iterator[tuple[SourceKey, NewerRecord]]:
    topic, topics = pipeline.names.dlq(MAPPER), {topic for topic, _ in keys}
    spans = reader.spans([(topic, partition) for partition in range(pipeline.partitions)])
    for dead_letter in read_records(reader, spans):
        raw = origin_of(dead_letter)
        if raw is None or raw.topic not in topics:
            continue
        found = _identified(dead_letter, raw.topic, keys)
        if found is not None:
            key, position = found
            why = dead_letter.headers.get(CONNECT + "exception.message", b"").decode(errors="replace")
            place = RawRef(dead_letter.topic, dead_letter.partition, dead_letter.offset)
            cause = dead_letter.headers.get(CAUSE_HEADER, b"").decode(errors="replace")
            yield key, NewerRecord("parked", raw, position, why, parked_ms_of(dead_letter), place, cause)


def _unread(
    reader: LogReader, kafka: KafkaSettings, pipeline: Pipeline, keys: set[SourceKey]
) -> Iterator[tuple[SourceKey, NewerRecord]]:
    inputs = StageInputs(MAPPER, pipeline.names.group(MAPPER), tuple(sorted({topic for topic, _ in keys})))
    partitions = [(topic, partition) for topic in inputs.topics for partition in range(pipeline.partitions)]
    committed = committed_offsets(kafka, inputs.group, partitions)
    spans = {
        at: (max(begin, committed.get(at, 0), end - UNREAD_OFFSETS_MAX), end)
        for at, (begin, end) in reader.spans(partitions, committed=True).items()
    }
    unread = newest_places(read_records(reader, spans), keys)
    not_read = _not_read(reader, pipeline, inputs, committed) if unread else {}
    for key, (raw, position) in unread.items():
        one = not_read.get(raw.at)
        why = NOT_READ_YET if one is None else f"{one.kind}: {one.why}. Next: {one.next_step}"
        since_ms = None if one is None or one.since_s is None else round(one.since_s * 1_000)
        yield key, NewerRecord("unread", raw, position, why, since_ms)


def newest_places(records: Iterable[Record], keys: set[SourceKey]) -> dict[SourceKey, tuple[RawRef, Position]]:
    """By source key of `keys`, the place and position of its newest record. The records are not kept in memory."""
    newest: dict[SourceKey, tuple[RawRef, Position]] = {}
    for record in records:
        found = _identified(record, record.topic, keys)
        if found is not None:
            key, position = found
            if key not in newest or position >= newest[key][1]:
                newest[key] = RawRef(record.topic, record.partition, record.offset), position
    return newest


def _not_read(
    reader: LogReader, pipeline: Pipeline, inputs: StageInputs, committed: Mapping[Partition, int]
) -> dict[Partition, NotRead]:
    """The raw partitions that the mapper does not read, each with the reason. Empty if Kafka does not answer, so an
    empty result is no proof that the mapper reads all partitions."""
    try:
        pinned = reader.pinned(list(inputs.topics))
        begins = reader.beginnings([(topic, p) for topic, about in pinned.items() for p in range(about.partitions)])
        facts = read_input_facts(reader, pipeline, inputs, pinned, begins, committed)
        return partitions_not_read(facts, reader, pipeline.names.control)
    except (EnvironmentFault, Transient):
        return {}


def _identified(record: Record, topic: str, keys: set[SourceKey]) -> tuple[SourceKey, Position] | None:
    """The source key and position of a raw record or of its dead letter; None if the key is not in `keys` or cannot be
    read. `topic`: the raw topic."""
    try:
        key = (topic, raw_record.source_key(record))
        return (key, raw_record.position_of(record)) if key in keys else None
    except DeadRecord:
        return None
