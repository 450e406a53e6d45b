"""Raw topics read to their ends: what must stand as contributions, what must lie among the dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sluice.entities import Mapping as EntityMapping
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.pipeline import Pipeline, SourceStream
from sluice.position import Position
from sluice.provenance import RawRef
from sluice.raw.source_record import leaves_out
from sluice.verify.expected import ExpectedClaim, StreamHistory
from sluice.verify.reading import ROUND_OFFSETS_MAX, records, rounds, spans_to
from sluice.verify.visible import RawIndex


class RawInput(NamedTuple):
    """One raw topic: its stream and the mappings that read it."""

    topic: str
    stream: SourceStream
    mappings: tuple[EntityMapping, ...]


class RawScan(NamedTuple):
    """`expected` by contribution key; `parked` by (topic, source key, mapping); `must_be_dead`: (place, source key)."""

    expected: dict[bytes, ExpectedClaim]
    parked: dict[tuple[str, str, str], Position]
    must_be_dead: list[tuple[RawRef, str]]
    raw: RawIndex
    keys: int


def raw_inputs(pipeline: Pipeline, mappings: Sequence[EntityMapping]) -> list[RawInput]:
    """The raw topics that some mapping reads."""
    inputs = []
    for stream in pipeline.streams():
        found = tuple(m for m in mappings if (m.source, m.stream) == (stream.source, stream.stream))
        if found:
            inputs.append(RawInput(pipeline.names.raw(stream.source, stream.stream), stream, found))
    return inputs


def scan_raw(
    reader: LogReader,
    inputs: Sequence[RawInput],
    ends: Mapping[Partition, int],
    round_offsets_max: int = ROUND_OFFSETS_MAX,
) -> RawScan:
    """Read every raw topic from its first offset to `ends`. Of values, only those of one round are in memory."""
    scan = RawScan({}, {}, [], RawIndex(ends), 0)
    keys = 0
    spans = spans_to(reader, ends)
    for one in inputs:
        weights = {p: end - start for (topic, p), (start, end) in spans.items() if topic == one.topic}
        for partitions in rounds(weights, round_offsets_max):
            chosen = {(one.topic, p): spans[one.topic, p] for p in partitions}
            keys += _round(reader, one, chosen, scan)
    return scan._replace(keys=keys)


def _round(reader: LogReader, one: RawInput, spans: Mapping[Partition, tuple[int, int]], scan: RawScan) -> int:
    histories = _histories(reader, one, spans, scan.raw, fills=False)
    if histories is None:
        for at in spans:
            scan.raw.clear(at)
        histories = _histories(reader, one, spans, scan.raw, fills=True) or {}
    for history in histories.values():
        scan.expected.update(history.claims())
        for source_key, mapping, parked in history.parked():
            scan.must_be_dead.append((parked.raw, source_key))
            if source_key:
                scan.parked[one.topic, source_key, mapping] = parked.position
    return sum(history.keys for history in histories.values())


def _histories(
    reader: LogReader, one: RawInput, spans: Mapping[Partition, tuple[int, int]], index: RawIndex, *, fills: bool
) -> dict[Partition, StreamHistory] | None:
    """None if a record leaves columns out and columns are not kept: then everything is read again with them."""
    histories = {at: StreamHistory(one.stream, one.mappings, fills) for at in spans}
    given_up = False
    for record in records(reader, spans):
        given_up = given_up or (not fills and one.stream.kind == "cdc" and leaves_out(record))
        if not given_up:
            index.add_keyed(record.at, record.offset, histories[record.at].add(record))
    return None if given_up else histories
