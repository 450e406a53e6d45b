"""From a decision to the records of one transaction: raw records, deletes, dead letters, the stored response."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from sluice.connector import Response
from sluice.connector.redact import REMOVED, removable, safe_headers, safe_url
from sluice.errors import DeadRecord
from sluice.headers import FETCHED_HEADER, OP_HEADER, ORIGIN_HEADER, POSITION_HEADER, RESPONSE_HEADER, TRUNCATED_HEADER
from sluice.kafka.record import Record
from sluice.names import INGRESS_POLLER
from sluice.position import Position
from sluice.raw.record import RawRecord
from sluice.stage.dead_letters import TRUNCATED_BODY_BYTES, dead_letter
from sluice.times import from_us, rfc3339
from sluice_ingress_poller.page import Item, Parked
from sluice_ingress_poller.passes import Decision

RESPONSE_BYTES_MAX = 16 * 1024 * 1024 - 64 * 1024
NOWHERE = -1

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A stored response: its id, and when it came."""

    response: Response
    response_id: str
    at_ms: int

    @classmethod
    def now(cls, response: Response, at_ms: int) -> Fetched:
        return cls(response, uuid7(at_ms), at_ms)


@dataclass(frozen=True, slots=True)
class Names:
    """Where the records of one stream go."""

    pipeline: str
    source: str
    stream: str
    raw_topic: str
    responses_topic: str
    dlq_topic: str


class RecordMaker:
    """Makes the records of one stream under one lease. Positions rise strictly and are never given twice, not even
    to records whose transaction failed: those may be read all the same if its outcome is not known.

    `secrets_now`: the texts that must not be stored.
    """

    def __init__(self, names: Names, epoch: int, incarnation: int, secrets_now: Callable[[], Collection[str]]) -> None:
        self._names = names
        self._epoch = epoch
        self._incarnation = incarnation
        self._secrets_now = secrets_now
        self._sequence = 0

    def page(self, decision: Decision, fetched: Fetched) -> list[RawRecord]:
        """The stored response, changed records and dead letters of a page; its deletes come by `deletes`."""
        made = [self.response(fetched)]
        made += [self.upsert(item, fetched) for item in decision.news.upserts]
        made += [self._dead_letter(parked, fetched) for parked in decision.news.parked]
        return made

    def deletes(self, keys: Collection[bytes], fetched: Fetched) -> Iterator[RawRecord]:
        """A null for each key, which an enumeration that ended with `fetched` did not list."""
        for key in keys:
            headers = self._headers(key, None, rfc3339(from_us(fetched.at_ms * 1_000)), b"d", fetched)
            yield RawRecord(self._names.raw_topic, key, None, headers)

    def response(self, fetched: Fetched) -> RawRecord:
        """The whole answer for `responses.<source>`, secrets removed; a very large body is cut, and says so."""
        response, body = fetched.response, fetched.response.body
        known = self._secrets_now()
        for secret in removable(known):
            body = body.replace(secret.encode(), REMOVED.encode())
        headers: Headers = [
            ("http.method", response.request.method.encode()),
            ("http.url", safe_url(response.request.url, known).encode()),
            ("http.status", b"%d" % response.status),
            ("http.headers", json.dumps(safe_headers(response.headers, known)).encode()),
            (FETCHED_HEADER, b"%d" % fetched.at_ms),
        ]
        if len(body) > RESPONSE_BYTES_MAX:
            headers += [
                (TRUNCATED_HEADER, b"%d" % len(body)),
                ("sluice-sha256", hashlib.sha256(body).hexdigest().encode()),
            ]
            body = body[:TRUNCATED_BODY_BYTES]
        key = fetched.response_id.encode()
        return RawRecord(self._names.responses_topic, key, body, headers, timestamp_ms=fetched.at_ms)

    def upsert(self, item: Item, fetched: Fetched) -> RawRecord:
        """The raw record of one item of a page."""
        key = item.key or b""
        changed = item.changed_at or from_us(fetched.at_ms * 1_000)
        headers = self._headers(key, item.raw, rfc3339(changed), b"u", fetched)
        headers.append((ORIGIN_HEADER, b"%d" % (changed.timestamp() * 1000)))
        return RawRecord(self._names.raw_topic, key, item.raw, headers)

    def _headers(self, key: bytes, value: bytes | None, time: str, op: bytes, fetched: Fetched) -> Headers:
        names = self._names
        self._sequence += 1
        position = Position(self._epoch, self._incarnation, self._sequence)
        digest = hashlib.sha256(key + b"\n" + (value or b"")).hexdigest()
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"{names.source}/{names.stream}/{digest}".encode()),
            ("ce_source", f"/{names.pipeline}/{names.source}".encode()),
            ("ce_type", f"sluice.raw.{names.stream}".encode()),
            ("ce_subject", key),
            ("ce_time", time.encode()),
            ("content-type", b"application/json"),
            (POSITION_HEADER, str(position).encode()),
            (OP_HEADER, op),
            (RESPONSE_HEADER, fetched.response_id.encode()),
        ]

    def _dead_letter(self, parked: Parked, fetched: Fetched) -> RawRecord:
        # It never stood in a topic: what is named is the topic it was meant for, at no offset.
        time = rfc3339(from_us(fetched.at_ms * 1_000))
        original = Record(
            self._names.raw_topic,
            NOWHERE,
            NOWHERE,
            parked.key,
            parked.raw,
            dict(self._headers(parked.key or b"", parked.raw, time, b"u", fetched)),
            fetched.at_ms,
        )
        letter = dead_letter(INGRESS_POLLER, original, DeadRecord(parked.code, parked.reason), None)
        return RawRecord(self._names.dlq_topic, *letter)


def uuid7(at_ms: int) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits."""
    value = (at_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
