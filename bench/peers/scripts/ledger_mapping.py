"""The mapping of a raw ledger entry, as a peer does it in Python: typed decode, straight-line code, typed encode.

It has no import of Sluice, because it runs in the environments of the peers. The result has the members of a
contribution that a peer can know; the values are spelled as Sluice spells them.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec

CENT = Decimal("0.0001")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = date(1970, 1, 1).toordinal()


class RawEntry(msgspec.Struct, rename="camel", gc=False):
    id: str
    cost_centre: str
    employee: str | None
    booked_on: date
    changed_at: datetime
    amount: Decimal
    currency: str
    quantity: int
    rate: Decimal
    text: str | None


class BookedRow(msgspec.Struct, gc=False):
    """A row of the followed table, in a change event."""

    id: str
    cost_centre: str
    employee: str | None
    booked_on: int
    changed_at: datetime
    amount: Decimal
    currency: str
    quantity: int
    rate: Decimal
    text: str | None


class Envelope(msgspec.Struct, gc=False):
    after: BookedRow


class Money(msgspec.Struct, gc=False):
    amount: str
    currency: str


class Fields(msgspec.Struct, gc=False):
    entry_number: str
    cost_centre: str
    employee_number: str | None
    booked_on: str
    changed_at: int
    amount: Money
    quantity: int
    rate: str
    text: str | None


class Origin(msgspec.Struct, gc=False):
    topic: str
    partition: int
    offset: int


class Contribution(msgspec.Struct, gc=False):
    entity_id: str
    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: int
    position: list[int]
    raw: Origin
    observed_at: str
    fields: Fields


class Plain(msgspec.Struct, gc=False):
    fields: Fields


decode = msgspec.json.Decoder(RawEntry).decode
decode_event = msgspec.json.Decoder(Envelope).decode
encode = msgspec.json.Encoder().encode


def decoder(topic: str) -> Callable[[bytes], RawEntry | BookedRow]:
    """The decoder of a raw topic: of polled records, or of change events."""
    return (lambda value: decode_event(value).after) if topic.endswith(".public.ledger_entry") else decode


def fields(raw: RawEntry | BookedRow) -> Fields:
    booked_on = raw.booked_on if isinstance(raw.booked_on, date) else date.fromordinal(DAY + raw.booked_on)
    since = raw.changed_at - EPOCH
    return Fields(
        entry_number=raw.id,
        cost_centre=raw.cost_centre,
        employee_number=raw.employee,
        booked_on=booked_on.isoformat(),
        changed_at=(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds,
        amount=Money(str(raw.amount.quantize(CENT)), raw.currency),
        quantity=raw.quantity,
        rate=str(raw.rate.quantize(CENT)),
        text=raw.text,
    )


def with_provenance(
    key: bytes, raw: RawEntry | BookedRow, headers: list[tuple[str, bytes]], topic: str, partition: int, offset: int
) -> tuple[bytes, bytes]:
    """Key and value of the result for a raw record, with where it comes from."""
    position, observed_at = b"", b""
    for name, content in headers:
        if name == "sluice-position":
            position = content
        elif name in ("ce_time", "sluice-origin-ms"):
            observed_at = content
    found = fields(raw)
    contribution = Contribution(
        entity_id=found.entry_number,
        source="erp",
        stream="entries",
        source_key=key.decode(),
        mapping="erp_entry",
        mapping_version=1,
        position=[int(part) for part in position.split(b":")],
        raw=Origin(topic, partition, offset),
        observed_at=observed_at.decode(),
        fields=found,
    )
    return found.entry_number.encode(), encode(contribution)
