"""The entity that the benchmarks map, merge and write: nine fields of the usual types."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from sluice.entities import Entity, Identity, Money, Scale


class LedgerEntry(Entity):
    entry_number: Annotated[str, Identity()]
    cost_centre: str
    employee_number: str | None
    booked_on: date
    changed_at: datetime
    amount: Money
    quantity: int
    rate: Annotated[Decimal, Scale(9, 4)]
    text: str | None
