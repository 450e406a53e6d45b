"""The Kafka records that are published for a page: raw records, deletes, dead letters and the stored response."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from secrets import randbits
from uuid import UUID

from sluice.connector import Response
from sluice.connector.redact import REMOVED, removable, safe_headers, safe_url
from sluice.errors import DeadRecord
from sluice.headers import (
    CE_ID_HEADER,
    CE_SOURCE_HEADER,
    CE_SPECVERSION_HEADER,
    CE_SUBJECT_HEADER,
    CE_TIME_HEADER,
    CE_TYPE_HEADER,
    CONTENT_TYPE_HEADER,
    FETCHED_HEADER,
    HTTP_HEADERS_HEADER,
    HTTP_METHOD_HEADER,
    HTTP_STATUS_HEADER,
    HTTP_URL_HEADER,
    OP_HEADER,
    ORIGIN_HEADER,
    POSITION_HEADER,
    RESPONSE_HEADER,
    SHA256_HEADER,
    TRUNCATED_HEADER,
)
from sluice.kafka.record import Record
from sluice.names import INGRESS_POLLER
from sluice.position import Position
from sluice.raw.writing import RawRecord
from sluice.stage.dead_letters import TRUNCATED_BODY_BYTES, dead_letter
from sluice.times import from_us, rfc3339
from sluice_ingress_poller.listing import Decision
from sluice_ingress_poller.page import Item, ParkedRecord

RESPONSE_BYTES_MAX = 16 * 1024 * 1024 - 64 * 1024
NOWHERE = -1

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response of a source, with its id in `responses.<source>` and the time when it arrived."""

    response: Response
    response_id: str
    at_ms: int

    @classmethod
    def now(cls, response: Response, at_ms: int) -> StoredResponse:
        return cls(response, uuid7(at_ms), at_ms)

    @property
    def at(self) -> datetime:
        return from_us(self.at_ms * 1_000)


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The names of a polled stream and of the topics to which its records are written."""

    pipeline: str
    source: str
    stream: str
    raw_topic: str
    responses_topic: str
    dlq_topic: str


class RecordBuilder:
    """Builds the Kafka records of one stream under one lease, with rising positions.

    No position is used twice, not even that of a record in a failed transaction: if the outcome of the transaction is
    unknown, consumers may read this record. `secrets_now`: returns the texts that must not be stored.
    """

    def __init__(
        self, names: StreamNames, epoch: int, incarnation: int, secrets_now: Callable[[], Collection[str]]
    ) -> None:
        self._names = names
        self._epoch = epoch
        self._incarnation = incarnation
        self._secrets_now = secrets_now
        self._sequence = 0

    def page(self, decision: Decision, stored: StoredResponse) -> list[RawRecord]:
        """The stored response, the changed records and the dead letters of a page. `deletes` builds its deletes."""
        records = [self.response(stored)]
        records += [self.upsert(item, stored) for item in decision.changes.upserts]
        records += [self._dead_letter(parked, stored) for parked in decision.changes.parked]
        return records

    def deletes(self, keys: Collection[bytes], stored: StoredResponse) -> Iterator[RawRecord]:
        """A raw record without a value for each of `keys`. `stored`: the last page of the enumeration without them."""
        for key in keys:
            yield RawRecord(self._names.raw_topic, key, None, self._headers(key, None, stored.at, b"d", stored))

    def response(self, stored: StoredResponse) -> RawRecord:
        """The record of a response in `responses.<source>`, without secrets.

        A body that does not fit into a record is cut; headers then contain its length and its SHA-256.
        """
        response, body = stored.response, stored.response.body
        known = self._secrets_now()
        for secret in removable(known):
            body = body.replace(secret.encode(), REMOVED.encode())
        headers: Headers = [
            (HTTP_METHOD_HEADER, response.request.method.encode()),
            (HTTP_URL_HEADER, safe_url(response.request.url, known).encode()),
            (HTTP_STATUS_HEADER, b"%d" % response.status),
            (HTTP_HEADERS_HEADER, json.dumps(safe_headers(response.headers, known)).encode()),
            (FETCHED_HEADER, b"%d" % stored.at_ms),
        ]
        if len(body) > RESPONSE_BYTES_MAX:
            headers += [
                (TRUNCATED_HEADER, b"%d" % len(body)),
                (SHA256_HEADER, hashlib.sha256(body).hexdigest().encode()),
            ]
            body = body[:TRUNCATED_BODY_BYTES]
        key = stored.response_id.encode()
        return RawRecord(self._names.responses_topic, key, body, headers, timestamp_ms=stored.at_ms)

    def upsert(self, item: Item, stored: StoredResponse) -> RawRecord:
        """The raw record for `item`, a record of the page `stored`."""
        key = item.key or b""
        changed = item.changed_at or stored.at
        headers = self._headers(key, item.raw, changed, b"u", stored)
        headers.append((ORIGIN_HEADER, b"%d" % (changed.timestamp() * 1000)))
        return RawRecord(self._names.raw_topic, key, item.raw, headers)

    def _headers(self, key: bytes, value: bytes | None, moment: datetime, op: bytes, stored: StoredResponse) -> Headers:
        names = self._names
        self._sequence += 1
        position = Position(self._epoch, self._incarnation, self._sequence)
        digest = hashlib.sha256(key + b"\n" + (value or b"")).hexdigest()
        return [
            (CE_SPECVERSION_HEADER, b"1.0"),
            (CE_ID_HEADER, f"{names.source}/{names.stream}/{digest}".encode()),
            (CE_SOURCE_HEADER, f"/{names.pipeline}/{names.source}".encode()),
            (CE_TYPE_HEADER, f"sluice.raw.{names.stream}".encode()),
            (CE_SUBJECT_HEADER, key),
            (CE_TIME_HEADER, rfc3339(moment).encode()),
            (CONTENT_TYPE_HEADER, b"application/json"),
            (POSITION_HEADER, str(position).encode()),
            (OP_HEADER, op),
            (RESPONSE_HEADER, stored.response_id.encode()),
        ]

    def _dead_letter(self, parked: ParkedRecord, stored: StoredResponse) -> RawRecord:
        # The parked record was in no topic. Its dead letter names the raw topic, without a partition and an offset.
        original = Record(
            self._names.raw_topic,
            NOWHERE,
            NOWHERE,
            parked.key,
            parked.raw,
            dict(self._headers(parked.key or b"", parked.raw, stored.at, b"u", stored)),
            stored.at_ms,
        )
        cause = DeadRecord(parked.code, parked.reason)
        return RawRecord(self._names.dlq_topic, *dead_letter(INGRESS_POLLER, original, cause, None))


def uuid7(at_ms: int) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): milliseconds, version, 12 random bits, variant, 62 random bits."""
    return str(UUID(int=at_ms << 80 | 7 << 76 | randbits(12) << 64 | 2 << 62 | randbits(62)))
