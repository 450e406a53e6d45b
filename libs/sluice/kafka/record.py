"""A record as a stage reads it, and the end of a partition."""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka import Message

from sluice.headers import ORIGIN_HEADER, TRACE_HEADER
from sluice.kafka.log import Partition

FORWARDED_HEADERS = (TRACE_HEADER, ORIGIN_HEADER)
"""The headers that every stage copies from a record to its outputs: the trace, and the time of the change in the
source, from which freshness is measured."""

NUMBER_DIGITS_MAX = 18  # fits 64 bits


def number_in(header: object) -> int | None:
    """The whole number in a header's decimal digits; None for any other value, which no stage writes."""
    if not isinstance(header, bytes) or not header.isdigit() or len(header) > NUMBER_DIGITS_MAX:
        return None
    return int(header)


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int

    @property
    def at(self) -> Partition:
        return self.topic, self.partition

    @property
    def place(self) -> str:
        """The record's topic, partition and offset, for error texts."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def forwarded(self) -> list[tuple[str, bytes]]:
        """The headers to copy to the outputs of this record."""
        return [(name, self.headers[name]) for name in FORWARDED_HEADERS if name in self.headers]

    @property
    def size_bytes(self) -> int:
        return len(self.key or b"") + len(self.value or b"")


class End(NamedTuple):
    """Marks the end of a partition: all readable records below `offset` were read. Offsets of control records may be
    below `offset` too."""

    topic: str
    partition: int
    offset: int

    @property
    def at(self) -> Partition:
        return self.topic, self.partition


def record_of(message: Message) -> Record:
    """The record of a message without error. If a header occurs twice, the last one counts."""
    given: Any = message.headers()
    topic: Any = message.topic()
    partition: Any = message.partition()
    offset: Any = message.offset()
    headers = {name: value or b"" for name, value in given or ()}
    return Record(topic, partition, offset, message.key(), message.value(), headers, message.timestamp()[1])
