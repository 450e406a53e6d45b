"""Entries of a ledger: the raw records that the harness writes, and the values that a mapping must find in them.

Entry `i` of version `v` is the same in every run. The raw record is a JSON object of about 300 bytes, with the headers
that `ingress-poller` writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import orjson

from bench.topics import Headers, Message

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY_0 = date(1970, 1, 1)
EVENT_SOURCE = {
    "version": "0.1.0",
    "connector": "postgresql",
    "name": "raw.books",
    "db": "books",
    "schema": "public",
    "table": "ledger_entry",
    "xmin": None,
    "ts_ms": 1_782_907_200_000,
    "ts_us": 1_782_907_200_000_000,
    "ts_ns": 1_782_907_200_000_000_000,
    "snapshot": "false",
}
"""The members of `source` that are the same in all change events."""
RESPONSE_RECORDS = 200
"""How many records an API response has. They share the header `sluice-response`."""


ID_PREFIX = "E-"


class Entry(NamedTuple):
    """One entry of the ledger, as its source states it. `amount`, `rate`: decimals as text."""

    id: str
    cost_centre: str
    employee: str | None
    booked_on: str
    changed_at: str
    amount: str
    currency: str
    quantity: int
    rate: str
    text: str | None


def entry_id(number: int) -> str:
    return f"{ID_PREFIX}{number:010d}"


def entry(number: int, version: int, size: int) -> Entry:
    """Entry `number` in its state `version`. `size`: the text is as long as the raw record needs to have `size` bytes;
    0 for its natural size."""
    mixed = number * 2_654_435_761 + version * 40_503
    moment = EPOCH + timedelta(seconds=mixed % 15_000_000, microseconds=mixed % 1_000_000)
    text = None if number % 10 == 7 and not size else f"Invoice {mixed % 1_000_003} of supplier {mixed % 997}, position"
    plain = Entry(
        id=entry_id(number),
        cost_centre=f"CC-{mixed % 500:04d}",
        employee=None if number % 5 == 3 else f"W-{mixed % 90_000:06d}",
        booked_on=moment.date().isoformat(),
        changed_at=moment.isoformat().replace("+00:00", "Z"),
        amount=f"{mixed % 10_000_000 // 100}.{mixed % 100:02d}",
        currency=("EUR", "USD", "CHF", "GBP")[mixed % 4],
        quantity=mixed % 1_000,
        rate=f"0.{mixed % 10_000:04d}",
        text=text,
    )
    missing = size - len(raw_value(plain)) if size else 0
    return plain._replace(text=f"{text} {_noise(number, missing - 1)}") if missing > 1 else plain


def _noise(number: int, length: int) -> str:
    """Text of that length which compresses to about half, as texts of people do."""
    blocks = (hashlib.sha256(b"%d %d" % (number, block)).hexdigest() for block in range(length // 64 + 1))
    return "".join(blocks)[:length]


def raw_key(number: int) -> bytes:
    return b'{"id":"%b"}' % entry_id(number).encode()


def raw_value(of: Entry) -> bytes:
    """The record as the source sends it: JSON with members in camel case."""
    return orjson.dumps(
        {
            "id": of.id,
            "costCentre": of.cost_centre,
            "employee": of.employee,
            "bookedOn": of.booked_on,
            "changedAt": of.changed_at,
            "amount": of.amount,
            "currency": of.currency,
            "quantity": of.quantity,
            "rate": of.rate,
            "text": of.text,
            "ledger": "general",
            "status": "posted",
        }
    )


class EntryRange(NamedTuple):
    """Raw records of one source: the entries `first`, `first + step`, …, each in state `version`."""

    source: str
    first: int
    records: int
    version: int
    step: int = 1

    def numbers(self) -> range:
        return range(self.first, self.first + self.records * self.step, self.step)


TOPICS = {"erp": "raw.erp.entries", "bank": "raw.bank.entries", "books": "raw.books.public.ledger_entry"}
"""The raw topic of each source, without a prefix. `books` is followed by CDC, the others are polled."""


def raw_messages(entries: EntryRange, size: int, sequence: int = 0) -> Iterator[Message]:
    """The raw records of a range, as ingress writes them. `sequence`: their positions start after it."""
    write = _followed if entries.source == "books" else _polled
    return write(entries, size, sequence)


def _followed(entries: EntryRange, size: int, sequence: int) -> Iterator[Message]:
    """Change events, as `ingress-cdc` writes them: transactions of 100 rows."""
    for number in entries.numbers():
        one = entry(number, entries.version, size)
        lsn, ordinal = 24_117_960 + sequence // 100 * 4_096, sequence % 100 + 1
        sequence += 1
        after = {**one._asdict(), "booked_on": (date.fromisoformat(one.booked_on) - DAY_0).days}
        value = {
            "before": None,
            "after": after,
            "source": {**EVENT_SOURCE, "sequence": f'[null,"{lsn}"]', "txId": 750 + sequence // 100, "lsn": lsn},
            "transaction": None,
            "op": "u" if entries.version else "c",
            "ts_ms": 1_782_907_200_321,
        }
        headers: Headers = [
            ("sluice-position", b"1:%d:%d" % (lsn, ordinal)),
            ("sluice-origin-ms", b"1782907200000"),
            ("content-type", b"application/json"),
        ]
        yield Message(raw_key(number), orjson.dumps(value), headers)


def _polled(entries: EntryRange, size: int, sequence: int) -> Iterator[Message]:
    """Records of an API, as `ingress-poller` writes them."""
    fetched_at = b"2026-07-01T12:00:00Z"
    response = b""
    for number in entries.numbers():
        if not number % RESPONSE_RECORDS or not response:
            response = str(UUID(int=(entries.version << 64) + number)).encode()
        sequence += 1
        key, value = raw_key(number), raw_value(entry(number, entries.version, size))
        digest = hashlib.sha256(key + b"\n" + value).hexdigest()
        headers: Headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"{entries.source}/entries/{digest}".encode()),
            ("ce_source", f"/ledger/{entries.source}".encode()),
            ("ce_type", b"sluice.raw.entries"),
            ("ce_subject", key),
            ("ce_time", fetched_at),
            ("content-type", b"application/json"),
            ("sluice-position", b"1:0:%d" % sequence),
            ("sluice-op", b"u"),
            ("sluice-response", response),
            ("sluice-origin-ms", b"1782907200000"),
        ]
        yield Message(key, value, headers)


class Totals(NamedTuple):
    """What all results of a run must add up to. `amount`: in hundredths, of all currencies together."""

    records: int
    quantity: int
    amount: int
    without_text: int


NOTHING = Totals(0, 0, 0, 0)


def plus(totals: Totals, quantity: int, amount: Decimal, text: str | None) -> Totals:
    return Totals(
        totals.records + 1,
        totals.quantity + quantity,
        totals.amount + int(amount * 100),
        totals.without_text + (text is None),
    )


def expected(entries: EntryRange, size: int) -> Totals:
    """The totals of a range of raw records after a correct mapping."""
    totals = NOTHING
    for number in entries.numbers():
        one = entry(number, entries.version, size)
        totals = plus(totals, one.quantity, Decimal(one.amount), one.text)
    return totals
