"""The entries of the ledger, as the ERP sends them."""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from sluice.entities import Money, mapping

from ...entities import LedgerEntry


class ErpEntry(msgspec.Struct, rename="camel"):
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


@mapping(source="erp.entries", version=1)
def erp_entry(raw: ErpEntry) -> LedgerEntry:
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
