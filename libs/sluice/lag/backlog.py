"""Counts the records between two offsets that a read_committed reader can see, by reading them.

The difference of offsets would be wrong: transaction markers and aborted records also have offsets. So the end of a log
minus the committed offset never becomes 0, even if a group has read everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluice.kafka import LogReader
from sluice.kafka.log import Partition

COUNTED_OFFSETS_MAX = 10_000


@dataclass(slots=True)
class Backlog:
    """The records of a partition, or of several, that a group has not processed. `records`: their number, an upper
    bound if `at_most`. `oldest_ms`: the timestamp of the oldest of them in Unix ms, None if unknown."""

    records: int = 0
    at_most: bool = False
    oldest_ms: int | None = None

    def __str__(self) -> str:
        return f"≤ {self.records}" if self.at_most else str(self.records)

    def age_s(self, now_s: float) -> float:
        """The age in seconds of the oldest record that is not processed; 0 if there is none. `now_s`: Unix seconds."""
        return 0.0 if self.oldest_ms is None else max(0.0, now_s - self.oldest_ms / 1000)


def backlogs(
    reader: LogReader,
    spans: Mapping[Partition, tuple[int, int]],
    counted_max: int = COUNTED_OFFSETS_MAX,
    deadline_s: float = 30.0,
) -> dict[Partition, Backlog]:
    """The backlog of each partition. `spans`: the group's next offset and the last stable offset of each partition.

    At most `counted_max` offsets of a partition are read. Each offset beyond them counts as a record, even if it is a
    transaction marker. Blocks; raises Transient if Kafka does not answer within `deadline_s`.
    """
    found = {at: Backlog() for at in spans}
    read = {at: (start, min(end, start + counted_max)) for at, (start, end) in spans.items()}
    for message in reader.read(read, deadline_s=deadline_s):
        backlog = found[str(message.topic()), int(message.partition() or 0)]
        backlog.records += 1
        if backlog.oldest_ms is None:
            backlog.oldest_ms = message.timestamp()[1]
    for at, (_, counted_to) in read.items():
        beyond = spans[at][1] - counted_to
        if beyond > 0:
            found[at].records += beyond
            found[at].at_most = True
    return found
