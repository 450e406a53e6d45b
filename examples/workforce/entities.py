"""The golden records of the workforce pipeline: the contract with every reader, independent of the sources."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from sluice.entities import UNCLAIMED, Entity, Identity, Money, Scale, Unit, most_recent, prefer


def employee_id(text: str) -> str:
    """`" e-00017 "` and `"E00017"` are one employee."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())


class Worker(Entity):
    """A person who works here. HR knows the person, finance the pay, and both claim the cost centre."""

    employee_number: Annotated[str, Identity(employee_id)]
    full_name: str | None = UNCLAIMED
    email: str | None = UNCLAIMED
    phone: str | None = UNCLAIMED  # E.164
    height: Annotated[Decimal, Unit("m"), Scale(4, 2)] | None = UNCLAIMED
    job_title: str | None = UNCLAIMED
    country: str | None = UNCLAIMED  # ISO 3166-1 alpha-2
    start_date: date | None = UNCLAIMED
    manager: str | None = UNCLAIMED  # an employee number
    cost_centre: Annotated[str | None, most_recent()] = UNCLAIMED
    base_pay: Annotated[Money | None, prefer("finance", "hr")] = UNCLAIMED
    pay_effective_from: date | None = UNCLAIMED
    iban: str | None = UNCLAIMED
    payroll_notes: str | None = UNCLAIMED
    hr_updated_at: datetime | None = UNCLAIMED
    payroll_updated_at: datetime | None = UNCLAIMED


class CostCentre(Entity):
    code: Annotated[str, Identity()]
    name: str
    owner: str | None  # an employee number
    currency: str
    updated_at: datetime


class LedgerEntry(Entity):
    entry_number: Annotated[str, Identity()]
    cost_centre: str
    employee_number: str | None
    booked_at: datetime
    amount: Money
    text: str | None
