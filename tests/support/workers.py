"""A small pipeline's entities and mappings, as an author would write them; several tests read them."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from sluice.entities import UNCLAIMED, Entity, Identity, Money, Output, Scale, Unit, mapping, most_recent, prefer


class Worker(Entity, version=2):
    employee_number: Annotated[str, Identity()]
    full_name: str = UNCLAIMED
    base_pay: Annotated[Money | None, prefer("workday", "erp")] = UNCLAIMED
    height: Annotated[Decimal, Unit("m"), Scale(10, 3)] | None = UNCLAIMED
    status: Annotated[Literal["active", "left"] | None, most_recent()] = UNCLAIMED
    birthday: date | None = UNCLAIMED
    hired_at: datetime | None = UNCLAIMED
    rating: float | None = UNCLAIMED
    badge: bytes | None = UNCLAIMED
    level: int | None = UNCLAIMED
    remote: bool | None = UNCLAIMED


class LedgerEntry(Entity):
    entry_id: Annotated[str, Identity(str.upper)]
    amount: Money


class Pay(BaseModel):
    amount: Decimal
    currency: str


class WorkdayWorker(BaseModel):
    id: str
    first: str
    last: str
    pay: Pay | None = None
    updated_at: datetime
    attributes: dict[str, int] = Field(default_factory=dict)

    def changed_at(self) -> datetime:
        return self.updated_at


@mapping(source="workday.workers", version=3, effective_at=WorkdayWorker.changed_at)
def worker(raw: WorkdayWorker) -> Worker | None:
    if raw.last == "Test":
        return None
    return Worker(
        employee_number=raw.id,
        full_name=f"{raw.first} {raw.last}",
        base_pay=Money(raw.pay.amount, raw.pay.currency) if raw.pay else None,
        status="active",
    )


class ErpLine(BaseModel):
    line: str
    amount: Decimal


class ErpInvoice(BaseModel):
    id: int
    lines: list[ErpLine]


@mapping(source="erp.public.invoice", version=1)
def invoice_lines(raw: ErpInvoice) -> list[Output[LedgerEntry]]:
    return [
        Output(line.line, LedgerEntry(entry_id=f"{raw.id}-{line.line}", amount=Money(line.amount, "EUR")))
        for line in raw.lines
    ]


@mapping(source="erp.public.ratio", version=1)
def ratio(raw: ErpLine) -> LedgerEntry:
    return LedgerEntry(entry_id=raw.line, amount=Money(Decimal(1) / raw.amount, "EUR"))
