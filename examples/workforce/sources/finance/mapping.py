"""Finance: three tables, followed through the database's own log."""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel

from sluice.entities import EpochDate, Money, mapping

from ...entities import CostCentre, LedgerEntry, Worker


class PayrollRow(BaseModel):
    employee_number: str
    base_pay: Decimal
    currency: str
    iban: str | None
    cost_centre: str | None
    notes: str | None
    effective_from: EpochDate | None
    updated_at: datetime

    def changed_at(self) -> datetime:
        return self.updated_at


@mapping(source="finance.public.payroll", version=2, effective_at=PayrollRow.changed_at)
def payroll(raw: PayrollRow) -> Worker:
    return Worker(
        employee_number=raw.employee_number,
        cost_centre=raw.cost_centre,
        base_pay=Money(raw.base_pay, raw.currency),
        pay_effective_from=raw.effective_from,
        iban=raw.iban,
        payroll_notes=raw.notes,
        payroll_updated_at=raw.updated_at,
    )


class CostCentreRow(BaseModel):
    code: str
    name: str
    owner_employee_number: str | None
    currency: str
    updated_at: datetime


@mapping(source="finance.public.cost_centre", version=2)
def cost_centre(raw: CostCentreRow) -> CostCentre:
    return CostCentre(
        code=raw.code,
        name=raw.name,
        owner=raw.owner_employee_number,
        currency=raw.currency,
        updated_at=raw.updated_at,
    )


class LedgerRow(BaseModel):
    id: int
    cost_centre: str
    employee_number: str | None
    booked_at: datetime
    amount: Decimal
    currency: str
    text: str | None


@mapping(source="finance.public.ledger_entry", version=2)
def ledger_entry(raw: LedgerRow) -> LedgerEntry:
    return LedgerEntry(
        entry_number=str(raw.id),
        cost_centre=raw.cost_centre,
        employee_number=raw.employee_number,
        booked_at=raw.booked_at,
        amount=Money(raw.amount, raw.currency),
        text=raw.text,
    )
