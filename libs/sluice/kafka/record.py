"""A Kafka record as the stages read it, and the event that a partition is read to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Message

from sluice.headers import ORIGIN_HEADER, TRACE_HEADER
from sluice.kafka.log import LogReader, Partition

FORWARDED_HEADERS = (TRACE_HEADER, ORIGIN_HEADER)
"""The headers that every stage copies from an input record to its output records: `traceparent`, and the time of the
change in the source, from which freshness is measured."""

NUMBER_DIGITS_MAX = 18  # every number of 18 digits fits 64 bits


def number_in(header: object) -> int | None:
    """The whole number that a header contains as decimal digits. None for any other value, which no stage of Sluice
    writes."""
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
        """The topic, partition and offset of the record as one text, for error messages."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def forwarded(self) -> list[tuple[str, bytes]]:
        """The headers of this record that a stage copies to the output records."""
        found = []
        for name in FORWARDED_HEADERS:
            if (value := self.headers.get(name)) is not None:
                found.append((name, value))
        return found

    @property
    def size_bytes(self) -> int:
        return len(self.key or b"") + len(self.value or b"")


class End(NamedTuple):
    """The event that a partition is read to its end: all readable records below `offset` were read. Some offsets below
    `offset` may belong to control records, which are not read."""

    topic: str
    partition: int
    offset: int

    @property
    def at(self) -> Partition:
        return self.topic, self.partition


def record_of(message: Message) -> Record:
    """The Record of a Kafka message that is not an error event. If a header occurs twice, its last value counts."""
    given: Any = message.headers()
    topic: Any = message.topic()
    partition: Any = message.partition()
    offset: Any = message.offset()
    headers = {name: value or b"" for name, value in given or ()}
    return Record(topic, partition, offset, message.key(), message.value(), headers, message.timestamp()[1])


def read_records(reader: LogReader, spans: Mapping[Partition, tuple[int, int]]) -> Iterator[Record]:
    """The records in `[start, end)` of each partition that are readable at read_committed. See `LogReader.read`."""
    return map(record_of, reader.read(spans))
