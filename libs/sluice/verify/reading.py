"""Logs read in rounds: as many partitions at once as fit a number of offsets, so that memory follows the round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, record_of
from sluice.names import Names
from sluice.provenance import RawRef
from sluice.stage.dead_letters import origin_of

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
    """Records visible in `spans`, in order by partition."""
    for message in reader.read(spans):
        yield record_of(message)


def spans_to(reader: LogReader, ends: Mapping[Partition, int]) -> dict[Partition, tuple[int, int]]:
    """From the first offset of each partition to its end."""
    begins = reader.beginnings(list(ends))
    return {at: (begins[at], max(begins[at], end)) for at, end in ends.items()}


class DeadLetterOrigins:
    """Where the dead letters of a stage come from. `expired`: some may be gone by retention."""

    def __init__(self, reader: LogReader, names: Names, stage: str, partitions: int) -> None:
        topic = names.dlq(stage)
        at_all = [(topic, partition) for partition in range(partitions)]
        spans = spans_to(reader, reader.ends(at_all))
        self.expired = any(start for start, _ in spans.values())
        self.places: set[RawRef] = {place for one in records(reader, spans) if (place := origin_of(one)) is not None}
