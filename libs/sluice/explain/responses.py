"""Stored responses of polled sources: found by their id, and decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson

from sluice.headers import (
    HTTP_HEADERS_HEADER,
    HTTP_METHOD_HEADER,
    HTTP_STATUS_HEADER,
    HTTP_URL_HEADER,
    TRUNCATED_HEADER,
)
from sluice.kafka import LogReader
from sluice.kafka.record import Record, record_of

# A response's timestamp is from the poller's clock: responses of the same millisecond may precede it.
_SCANNED_OFFSETS_MAX = 2_000


@dataclass(frozen=True)
class FoundResponse:
    """A source's response as it is stored, secrets removed. `headers`: names in lower case.

    `body_bytes`: the length of the original body; `body` is shorter if that was very large. `fetched_ms`: Unix time.
    """

    response_id: str
    topic: str
    partition: int
    offset: int
    fetched_ms: int
    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    body_bytes: int

    @property
    def truncated(self) -> bool:
        return self.body_bytes > len(self.body)


def uuid_of(text: str) -> UUID | None:
    """The id in `text`; None if that is no id."""
    try:
        return UUID(text)
    except ValueError:
        return None


def fetched_ms_of(response_id: UUID) -> int:
    """When a response was fetched (Unix ms): its id, a UUIDv7, begins with the time (RFC 9562)."""
    return response_id.int >> 80


def find_response(reader: LogReader, topic: str, partitions: int, response_id: UUID) -> Record | None:
    """The record of a response in `topic`, found by its time; None if it expired, never existed, or has no topic.

    Blocks. Raises EnvironmentFault and Transient if the topic cannot be read.
    """
    if topic not in reader.topics():
        return None
    ats = [(topic, partition) for partition in range(partitions)]
    starts = reader.at_time(ats, fetched_ms_of(response_id))
    ends = reader.ends([at for at in ats if starts[at] >= 0])
    spans = {at: (starts[at], min(end, starts[at] + _SCANNED_OFFSETS_MAX)) for at, end in ends.items()}
    key = str(response_id).encode()
    for message in reader.read(spans):
        if message.key() == key:
            return record_of(message)
    return None


def read_response(record: Record) -> FoundResponse:
    """Decode a `record` of a responses topic; a missing header becomes an empty string."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers.items()}
    body = record.value or b""
    return FoundResponse(
        (record.key or b"").decode("utf-8", "replace"),
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms,
        headers.get(HTTP_METHOD_HEADER, ""),
        headers.get(HTTP_URL_HEADER, ""),
        _number(headers.get(HTTP_STATUS_HEADER), 0),
        _headers(headers.get(HTTP_HEADERS_HEADER, "{}")),
        body,
        _number(headers.get(TRUNCATED_HEADER), len(body)),
    )


def _headers(text: str) -> Mapping[str, str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default
