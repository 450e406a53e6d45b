"""A record as a stage sees it, and the end of a partition."""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka import Message

from sluice.headers import ORIGIN_HEADER
from sluice.kafka.log import Partition

FORWARDED_HEADERS = ("traceparent", ORIGIN_HEADER)
"""Copied by every stage to what it makes of a record: the trace, and when the source changed (for freshness)."""


NUMBER_DIGITS_MAX = 18  # fits 64 bits


def number_in(header: object) -> int | None:
    """A whole number in decimal digits; None for what none of our stages wrote there."""
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
        """For errors: where the record stands."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def forwarded(self) -> list[tuple[str, bytes]]:
        """The headers that what comes of this record carries on."""
        return [(name, self.headers[name]) for name in FORWARDED_HEADERS if name in self.headers]

    @property
    def size_bytes(self) -> int:
        return len(self.key or b"") + len(self.value or b"")


class End(NamedTuple):
    """Everything readable below `offset` was read; control records are passed over in it."""

    topic: str
    partition: int
    offset: int

    @property
    def at(self) -> Partition:
        return self.topic, self.partition


def record_of(message: Message) -> Record:
    """The record in a message without error; of a header that stands twice, the last counts."""
    given: Any = message.headers()
    topic: Any = message.topic()
    partition: Any = message.partition()
    offset: Any = message.offset()
    headers = {name: value or b"" for name, value in given or ()}
    return Record(topic, partition, offset, message.key(), message.value(), headers, message.timestamp()[1])
