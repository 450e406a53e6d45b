"""What a source said later than the claims that stand: a newer record that is parked, or that the mapper did not read.

A parked record holds nothing back, so the older value stays; whoever asks about it has to hear that it is old.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, NamedTuple

from msgspec.structs import asdict

from sluice.errors import DeadRecord, EnvironmentFault, Transient
from sluice.headers import CAUSE_HEADER, CONNECT, PARKED_HEADER
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, number_in, record_of
from sluice.kafka.topics import Topics
from sluice.lag import StageInputs, committed_offsets
from sluice.lag.not_read import NotRead, look
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw import source_record
from sluice.stage.dead_letters import origin_of

# Of what the mapper did not read in a partition, the last so many offsets are looked at.
UNREAD_OFFSETS_MAX = 50_000
NOT_THERE_YET = "the mapper has not come so far; `sluice lag` tells how far it is behind"

SourceKey = tuple[str, str]
"""A raw topic and a source key."""
ClaimedBy = tuple[str, str, str, str]
"""Source, stream, source key and mapping of a claim."""


class NewerRecord(NamedTuple):
    """A raw record above a claim. `why` it makes none, since when (Unix ms) where that is known; of a parked record,
    where its dead letter stands and the fingerprint of its cause."""

    state: Literal["parked", "unread"]
    raw: RawRef
    position: Position
    why: str
    since_ms: int | None = None
    letter: RawRef | None = None
    cause: str = ""

    def to_json(self) -> dict[str, Any]:
        places = {"raw": asdict(self.raw), "letter": None if self.letter is None else asdict(self.letter)}
        return {**self._asdict(), "position": str(self.position), **places}


def newest_by_key(
    reader: LogReader, kafka: KafkaSettings, pipeline: Pipeline, wanted: Iterable[SourceKey]
) -> dict[SourceKey, NewerRecord]:
    """Of each source key the newest record that is parked or unread, whether or not a claim is newer.

    Reads the mapper's dead letters, and what the mapper did not read of the keys' topics. Raises EnvironmentFault and
    Transient.
    """
    keys = set(wanted)
    found: dict[SourceKey, NewerRecord] = {}
    for key, one in chain(_parked(reader, pipeline, keys), _unread(reader, kafka, pipeline, keys)):
        if key not in found or one.position >= found[key].position:
            found[key] = one
    return found


def above(claims: Iterable[Contribution], newest: Mapping[SourceKey, NewerRecord]) -> dict[ClaimedBy, NewerRecord]:
    """What is newer than each standing claim."""
    found: dict[ClaimedBy, NewerRecord] = {}
    for claim in claims:
        newer = newest.get((claim.raw.topic, claim.source_key))
        if newer is not None and not claim.retracted and newer.position > claim.position:
            found[claim.source, claim.stream, claim.source_key, claim.mapping] = newer
    return found


def _parked(reader: LogReader, pipeline: Pipeline, keys: set[SourceKey]) -> Iterator[tuple[SourceKey, NewerRecord]]:
    topic = pipeline.names.dlq(MAPPER)
    ends = reader.ends([(topic, partition) for partition in range(pipeline.partitions)])
    begins = reader.beginnings(list(ends))
    for letter in map(record_of, reader.read({at: (begins[at], end) for at, end in ends.items()})):
        headers = letter.headers
        raw = origin_of(letter)
        if raw is None or not any(raw.topic == wanted for wanted, _ in keys):
            continue
        found = _identified(letter, raw.topic, keys)
        if found is not None:
            key, position = found
            why = headers.get(CONNECT + "exception.message", b"").decode(errors="replace")
            parked_ms = number_in(headers.get(PARKED_HEADER))
            since_ms = letter.timestamp_ms if parked_ms is None else parked_ms
            place = RawRef(letter.topic, letter.partition, letter.offset)
            cause = headers.get(CAUSE_HEADER, b"").decode(errors="replace")
            yield key, NewerRecord("parked", raw, position, why, since_ms, place, cause)


def _unread(
    reader: LogReader, kafka: KafkaSettings, pipeline: Pipeline, keys: set[SourceKey]
) -> Iterator[tuple[SourceKey, NewerRecord]]:
    inputs = StageInputs(MAPPER, pipeline.names.group(MAPPER), tuple(sorted({topic for topic, _ in keys})))
    partitions = [(topic, partition) for topic in inputs.topics for partition in range(pipeline.partitions)]
    committed = committed_offsets(kafka, inputs.group, partitions)
    begins, ends = reader.beginnings(partitions), reader.ends(partitions, committed=True)
    spans = {at: (max(begins[at], committed.get(at, 0), ends[at] - UNREAD_OFFSETS_MAX), ends[at]) for at in partitions}
    unread = newest_places(map(record_of, reader.read(spans)), keys)
    holds = _holds(reader, kafka, pipeline, inputs, committed) if unread else {}
    for key, (raw, position) in unread.items():
        hold = holds.get((raw.topic, raw.partition))
        if hold is None:
            yield key, NewerRecord("unread", raw, position, NOT_THERE_YET)
        else:
            since_ms = None if hold.since_s is None else round(hold.since_s * 1_000)
            yield (
                key,
                NewerRecord("unread", raw, position, f"{hold.kind}: {hold.why}. Next: {hold.next_step}", since_ms),
            )


def newest_places(records: Iterable[Record], keys: set[SourceKey]) -> dict[SourceKey, tuple[RawRef, Position]]:
    """Of each wanted key the newest of `records`, as its place and its position; the records are not kept."""
    newest: dict[SourceKey, tuple[RawRef, Position]] = {}
    for record in records:
        found = _identified(record, record.topic, keys)
        if found is not None:
            key, position = found
            if key not in newest or position >= newest[key][1]:
                newest[key] = RawRef(record.topic, record.partition, record.offset), position
    return newest


def _holds(
    reader: LogReader,
    kafka: KafkaSettings,
    pipeline: Pipeline,
    inputs: StageInputs,
    committed: Mapping[Partition, int],
) -> dict[Partition, NotRead]:
    """What the mapper does not read; nothing where that cannot be found out."""
    try:
        pinned = Topics(clients.admin(kafka)).pinned(list(inputs.topics))
        begins = reader.beginnings([(topic, p) for topic, about in pinned.items() for p in range(about.partitions)])
        topic_ids = {topic: about.topic_id for topic, about in pinned.items()}
        return look(reader, pipeline, inputs, topic_ids, begins, committed)
    except (EnvironmentFault, Transient):
        return {}


def _identified(record: Record, topic: str, keys: set[SourceKey]) -> tuple[SourceKey, Position] | None:
    """The wanted key and the position of a raw record or its dead letter; None for others and what cannot be read."""
    try:
        key = (topic, source_record.source_key(record))
        return (key, source_record.position_of(record)) if key in keys else None
    except DeadRecord:
        return None
