"""Raw records and sweep markers, as ingress writes them to Kafka."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sluice.headers import OP_HEADER, POSITION_HEADER
from sluice.position import Position


class RawRecord(NamedTuple):
    """A record that ingress writes to `topic`. `partition`: None if murmur2 of the key decides.

    `timestamp_ms`: a time of Sluice's clock. The source's time is only in the headers, because Kafka refuses a batch
    whose timestamp is more than an hour ahead, at every retry.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    partition: int | None = None
    timestamp_ms: int | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.key or b"") + len(self.value or b"") + sum(len(k) + len(v) for k, v in self.headers) + 64


def sweep_key(stream: str) -> bytes:
    return orjson.dumps({"$sweep": stream})


def sweep_markers(topic: str, stream: str, position: Position, partitions: int) -> list[RawRecord]:
    """A sweep marker for each partition of the raw topic `topic`. The marker deletes all keys of `stream` whose last
    position is below `position`.

    The value has zero length and is not null, because compaction removes a record whose value is null.
    """
    headers = [(POSITION_HEADER, str(position).encode()), (OP_HEADER, b"s")]
    return [RawRecord(topic, sweep_key(stream), b"", headers, partition) for partition in range(partitions)]
