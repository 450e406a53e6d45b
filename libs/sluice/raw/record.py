"""Raw records and sweep markers, as ingress publishes them."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from sluice.headers import OP_HEADER, POSITION_HEADER
from sluice.position import Position


class RawRecord(NamedTuple):
    """One record for a topic; `partition` None means murmur2 of the key.

    `timestamp_ms` is of our own clock, never of the source's: Kafka would refuse the whole batch for ever if a source's
    clock is two hours ahead. The source's own time is in the headers.
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
    """One marker for every partition of the raw `topic`: all keys of `stream` strictly below `position` are deleted.

    The value has zero length and is not null, because compaction removes a null.
    """
    headers = [(POSITION_HEADER, str(position).encode()), (OP_HEADER, b"s")]
    return [RawRecord(topic, sweep_key(stream), b"", headers, partition) for partition in range(partitions)]
