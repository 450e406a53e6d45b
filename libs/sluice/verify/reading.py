"""Logs read in rounds: as many partitions at once as fit a number of offsets, so that memory follows the round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, record_of

ROUND_OFFSETS_MAX = 50_000

Spans = Mapping[Partition, tuple[int, int]]


def rounds(weights: Mapping[int, int], weight_max: int = ROUND_OFFSETS_MAX) -> Iterator[list[int]]:
    """Partition numbers in groups whose weights (offsets to read) sum to at most `weight_max`, or one alone."""
    taken: list[int] = []
    total = 0
    for partition, weight in sorted(weights.items()):
        if taken and total + weight > weight_max:
            yield taken
            taken, total = [], 0
        taken.append(partition)
        total += weight
    if taken:
        yield taken


def records(reader: LogReader, spans: Spans) -> Iterator[Record]:
    """The records of `spans` that are visible at read_committed, in order by partition."""
    return map(record_of, reader.read(spans))


def spans_to(reader: LogReader, ends: Mapping[Partition, int]) -> dict[Partition, tuple[int, int]]:
    """From the first offset of each partition to the end that is given."""
    firsts = reader.beginnings(list(ends))
    return {at: (firsts[at], max(firsts[at], end)) for at, end in ends.items()}
