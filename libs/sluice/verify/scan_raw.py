"""Reads the raw topics and computes which contributions must exist and which raw records must be dead letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluice.entities import Mapping as EntityMapping
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import read_records
from sluice.pipeline import SourceStream
from sluice.position import Position
from sluice.provenance import RawRef
from sluice.raw.raw_record import leaves_out
from sluice.verify.context import VerifyContext
from sluice.verify.expected import ExpectedClaim, StreamHistory
from sluice.verify.offsets import RawIndex, Spans, rounds, spans_to


@dataclass
class RawScan:
    """The result of reading raw.

    `raw`: the offsets and keys of all records. `expected`: the claims that must exist, by contribution key. `parked`:
    by (topic, source key, mapping), the position of the newest record if it cannot be mapped. `must_be_dead`: (place,
    source key, mapping) of each record that must be a dead letter; the mapping is "" if no mapping can process it.
    `keys`: the number of source keys.
    """

    raw: RawIndex
    expected: dict[bytes, ExpectedClaim] = field(default_factory=dict)
    parked: dict[tuple[str, str, str], Position] = field(default_factory=dict)
    must_be_dead: list[tuple[RawRef, str, str]] = field(default_factory=list)
    keys: int = 0


def scan_raw(context: VerifyContext, ends: Mapping[Partition, int]) -> RawScan:
    """Read every raw topic that a mapping reads, from its first offset to `ends`. One round of records is in memory."""
    scan, spans = RawScan(RawIndex(ends)), spans_to(context.reader, ends)
    for stream in context.pipeline.streams():
        mappings = [m for m in context.mappings if (m.source, m.stream) == (stream.source, stream.stream)]
        topic = context.pipeline.names.raw(stream.source, stream.stream)
        own = {p: span for (t, p), span in spans.items() if t == topic}
        for partitions in rounds({p: end - start for p, (start, end) in own.items()}):
            _round(context.reader, stream, mappings, {(topic, p): own[p] for p in partitions}, scan)
    return scan


def _round(
    reader: LogReader, stream: SourceStream, mappings: Sequence[EntityMapping], spans: Spans, scan: RawScan
) -> None:
    histories = _histories(reader, stream, mappings, spans, scan.raw, fills=False)
    if histories is None:
        for at in spans:
            scan.raw.clear(at)
        histories = _histories(reader, stream, mappings, spans, scan.raw, fills=True) or {}
    for (topic, _), history in histories.items():
        scan.keys += history.keys
        scan.expected.update(history.claims())
        for source_key, mapping, parked in history.parked():
            scan.must_be_dead.append((parked.raw, source_key, mapping))
            if source_key:
                scan.parked[topic, source_key, mapping] = parked.position


def _histories(
    reader: LogReader,
    stream: SourceStream,
    mappings: Sequence[EntityMapping],
    spans: Spans,
    index: RawIndex,
    *,
    fills: bool,
) -> dict[Partition, StreamHistory] | None:
    """The states of `spans` by partition. None if `fills` is False and a record leaves columns out: then the caller
    reads the spans again with `fills`."""
    histories = {at: StreamHistory(stream, mappings, fills) for at in spans}
    for record in read_records(reader, spans):
        if not fills and stream.kind == "cdc" and leaves_out(record):
            return None
        index.add_keyed(record.at, record.offset, histories[record.at].add(record))
    return histories
