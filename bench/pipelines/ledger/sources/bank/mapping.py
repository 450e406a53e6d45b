"""The entries of the ledger, as the bank sends them: the same record, which wins no field."""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from sluice.entities import Money, mapping

from ...entities import LedgerEntry


class BankEntry(msgspec.Struct, rename="camel"):
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


@mapping(source="bank.entries", version=1)
def bank_entry(raw: BankEntry) -> LedgerEntry:
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
