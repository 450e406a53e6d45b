"""Logs in memory that are read like `LogReader` reads Kafka's; both pass the same contract suite."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned


@dataclass(frozen=True)
class LogMessage:
    """The part of a Kafka message that readers of logs use."""

    _topic: str
    _partition: int
    _offset: int
    _key: bytes | None
    _value: bytes | None
    _headers: list[tuple[str, bytes]] = field(default_factory=list)
    _timestamp_ms: int = 0

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp_ms


class MemoryLogs:
    """Topics as lists. An aborted or control record is a gap: `skip` leaves one. Records are stamped with `now_ms`."""

    def __init__(self) -> None:
        self.now_ms = time.time_ns() // 1_000_000
        self._logs: dict[Partition, list[LogMessage | None]] = defaultdict(list)
        self._firsts: dict[Partition, int] = {}
        self.ids: dict[str, str] = {}

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> int:
        log = self._logs[topic, partition]
        log.append(LogMessage(topic, partition, len(log), key, value, headers, self.now_ms))
        return len(log) - 1

    def skip(self, topic: str, partition: int) -> None:
        self._logs[topic, partition].append(None)

    def ends(self, partitions: list[Partition], *, committed: bool = False) -> dict[Partition, int]:
        return {at: len(self._logs[at]) for at in partitions}

    def beginnings(self, partitions: list[Partition]) -> dict[Partition, int]:
        return {at: self._firsts.get(at, 0) for at in partitions}

    def spans(self, partitions: list[Partition], *, committed: bool = False) -> dict[Partition, tuple[int, int]]:
        firsts, ends = self.beginnings(partitions), self.ends(partitions, committed=committed)
        return {at: (firsts[at], ends[at]) for at in partitions}

    def empty(self, topic: str, partition: int) -> None:
        """Delete all records of the partition."""
        log = self._logs[topic, partition]
        self._firsts[topic, partition] = len(log)
        log[:] = [None] * len(log)

    def remove(self, topic: str, partition: int) -> None:
        """Delete the partition, as if its topic was re-created."""
        self._logs.pop((topic, partition))

    def compact(self, topic: str, partition: int) -> None:
        """Delete every record of the partition that a later record with the same key follows."""
        log = self._logs[topic, partition]
        newest = {message.key(): message.offset() for message in log if message is not None}
        log[:] = [m if m is not None and newest[m.key()] == m.offset() else None for m in log]

    def pinned(self, topics: list[str]) -> dict[str, Pinned]:
        """Every topic has one partition here."""
        return {topic: Pinned(self.ids.get(topic, ""), 1) for topic in topics}

    def at_time(self, partitions: list[Partition], timestamp_ms: int) -> dict[Partition, int]:
        return {at: self._first_since(at, timestamp_ms) for at in partitions}

    def _first_since(self, at: Partition, timestamp_ms: int) -> int:
        younger = (m.offset() for m in self._logs[at] if m is not None and m.timestamp()[1] >= timestamp_ms)
        return next(younger, -1)

    def read(self, spans: Mapping[Partition, tuple[int, int]], *, deadline_s: float = 60.0) -> Iterator[LogMessage]:
        for at, (start, end) in spans.items():
            yield from (m for m in self._logs[at][start:end] if m is not None)

    def messages(self, topic: str, partition: int = 0) -> list[LogMessage]:
        return [m for m in self._logs[topic, partition] if m is not None]
