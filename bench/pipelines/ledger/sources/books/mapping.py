"""The entries of the ledger, as rows of a Postgres table that is followed."""

from datetime import datetime
from decimal import Decimal

import msgspec

from sluice.entities import EpochDate, Money, mapping

from ...entities import LedgerEntry


class BookedRow(msgspec.Struct):
    id: str
    cost_centre: str
    employee: str | None
    booked_on: EpochDate
    changed_at: datetime
    amount: Decimal
    currency: str
    quantity: int
    rate: Decimal
    text: str | None


@mapping(source="books.public.ledger_entry", version=1)
def booked_row(raw: BookedRow) -> LedgerEntry:
    return LedgerEntry(
        entry_number=raw.id,
        cost_centre=raw.cost_centre,
        employee_number=raw.employee,
        booked_on=raw.booked_on,
        changed_at=raw.changed_at,
        amount=Money(raw.amount, raw.currency),
        quantity=raw.quantity,
        rate=raw.rate,
        text=raw.text,
    )
