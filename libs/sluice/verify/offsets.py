"""Offsets of logs: ranges to read, in rounds that fit in memory, and the offsets of the visible records that were read.

A visible record takes 8 bytes of memory; a raw record takes 16, because a digest of its source key is kept too.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Literal

from sluice.kafka import LogReader
from sluice.kafka.log import Partition

ROUND_OFFSETS_MAX = 50_000

Spans = Mapping[Partition, tuple[int, int]]
Place = Literal["exact", "compacted", "other-key", "missing", "beyond"]


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


class VisibleOffsets:
    """The offsets of visible records by partition, in log order. `ends`: the offsets up to which logs are read."""

    def __init__(self, ends: Mapping[Partition, int]) -> None:
        self.ends = dict(ends)
        self._offsets: dict[Partition, array[int]] = {at: array("q") for at in ends}

    def add(self, at: Partition, offset: int) -> None:
        self._offsets[at].append(offset)

    def count(self, at: Partition, start: int, end: int) -> int:
        """The number of visible records in `[start, end)`."""
        offsets = self._offsets[at]
        return bisect_left(offsets, end) - bisect_left(offsets, start)

    def __len__(self) -> int:
        return sum(map(len, self._offsets.values()))


class RawIndex(VisibleOffsets):
    """The visible raw records, each with a digest of its source key."""

    def __init__(self, ends: Mapping[Partition, int]) -> None:
        super().__init__(ends)
        self._keys: dict[Partition, array[int]] = {at: array("Q") for at in ends}

    def add_keyed(self, at: Partition, offset: int, source_key: str) -> None:
        self.add(at, offset)
        self._keys[at].append(_digest(source_key))

    def clear(self, at: Partition) -> None:
        """Remove all records of a partition, before the partition is read again."""
        self._offsets[at], self._keys[at] = array("q"), array("Q")

    def resolve(self, at: Partition, offset: int, source_key: str) -> Place:
        """What exists at the offset that a golden record names as its raw record.

        "compacted": compaction removed the record, and the log has a newer record of its key. "beyond": the offset was
        not read. "missing": neither this record nor a newer one of its key is in the log.
        """
        if at not in self.ends:
            return "missing"
        if offset >= self.ends[at]:
            return "beyond"
        offsets, keys, wanted = self._offsets[at], self._keys[at], _digest(source_key)
        index = bisect_left(offsets, offset)
        if index < len(offsets) and offsets[index] == offset:
            return "exact" if keys[index] == wanted else "other-key"
        return "compacted" if wanted in keys[index:] else "missing"


def _digest(source_key: str) -> int:
    return int.from_bytes(hashlib.blake2b(source_key.encode(), digest_size=8).digest(), "big")
