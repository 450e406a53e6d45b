"""Finds the stored response of a polled source by its id, and decodes it."""

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

# A search for a response reads at most this many offsets of each partition, from the first record of its millisecond
# on.
_SCANNED_OFFSETS_MAX = 2_000


@dataclass(frozen=True)
class FoundResponse:
    """The response of a source as it is stored, without secrets. `headers`: names in lower case.

    `body_bytes`: the length of the original body; `body` is shorter if the original was too large to be stored.
    `fetched_ms`: Unix ms.
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
    """The response id that `text` is; None if it is no UUID."""
    try:
        return UUID(text)
    except ValueError:
        return None


def fetched_ms_of(response_id: UUID) -> int:
    """When a response was fetched (Unix ms). Its id is a UUIDv7, which starts with this time (RFC 9562)."""
    return response_id.int >> 80


def find_response(reader: LogReader, topic: str, partitions: int, response_id: UUID) -> Record | None:
    """The record of a response in `topic`, found by the time in its id. None if the response expired or never existed,
    or if `topic` does not exist.

    Blocks. Raises EnvironmentFault or Transient if the topic cannot be read.
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
    """Decode a record of a responses topic. A missing header becomes an empty text, the number 0 or no headers."""
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
