"""Groups the partitions of a log into rounds of a limited number of offsets, so that memory is limited by one round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sluice.kafka import LogReader
from sluice.kafka.log import Partition

ROUND_OFFSETS_MAX = 50_000

Spans = Mapping[Partition, tuple[int, int]]


def rounds(weights: Mapping[int, int], weight_max: int = ROUND_OFFSETS_MAX) -> Iterator[list[int]]:
    """Yields groups of partition numbers. The weights (offsets to read) of a group sum to at most `weight_max`, or the
    group has only one partition."""
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


def spans_to(reader: LogReader, ends: Mapping[Partition, int]) -> dict[Partition, tuple[int, int]]:
    """By partition of `ends`, the range of offsets from its first offset to the given end."""
    firsts = reader.beginnings(list(ends))
    return {at: (firsts[at], max(firsts[at], end)) for at, end in ends.items()}
