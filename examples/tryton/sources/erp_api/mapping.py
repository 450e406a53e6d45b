"""From Tryton's JSON-RPC records to claims: names and codes that the tables have only as ids of other rows."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from sluice.entities import Money, mapping

from ...entities import LedgerEntry, Party, Worker


def _unwrapped(value: Any) -> Any:
    """Tryton marks values without a JSON type: `{"__class__": "date", "year": 2026, "month": 1, "day": 31}`."""
    if not isinstance(value, dict):
        return value
    parts = {name: part for name, part in value.items() if name != "__class__"}
    try:
        match value.get("__class__"):
            case "date":
                return date(**parts)
            case "datetime":
                return datetime(**parts, tzinfo=UTC)
            case "Decimal":
                return Decimal(parts["decimal"])
    except (KeyError, TypeError, ArithmeticError):
        raise ValueError("not a value as Tryton writes it") from None
    return value


TrytonDate = Annotated[date, BeforeValidator(_unwrapped)]
TrytonTime = Annotated[datetime, BeforeValidator(_unwrapped)]
TrytonDecimal = Annotated[Decimal, BeforeValidator(_unwrapped)]


class NamedParty(BaseModel):
    name: str | None
    code: str


class PartyName(BaseModel):
    name: str | None


class Company(BaseModel):
    party: Annotated[PartyName, Field(alias="party.")]


class TrytonEmployee(BaseModel):
    """`company.employee`; members that end in a dot contain fields of the record that the relation points to."""

    id: int
    create_date: TrytonTime
    write_date: TrytonTime | None
    party: Annotated[NamedParty, Field(alias="party.")]
    company: Annotated[Company, Field(alias="company.")]
    start_date: TrytonDate | None
    end_date: TrytonDate | None
    supervisor: int | None

    def changed_at(self) -> datetime:
        """The last change of the employee itself: a later change of its party does not concern these dates."""
        return max(self.create_date, self.write_date or self.create_date)


class Code(BaseModel):
    code: str | None


class Account(BaseModel):
    code: str | None
    name: str


class Move(BaseModel):
    number: str | None
    state: str
    date: TrytonDate


class TrytonLine(BaseModel):
    """`account.move.line`."""

    id: int
    debit: TrytonDecimal
    credit: TrytonDecimal
    description: str | None
    currency: Annotated[Code, Field(alias="currency.")]
    account: Annotated[Account, Field(alias="account.")]
    move: Annotated[Move, Field(alias="move.")]
    party: Annotated[Code | None, Field(alias="party.")]


@mapping(source="erp_api.employees", version=2, effective_at=TrytonEmployee.changed_at)
def employee(raw: TrytonEmployee) -> Worker:
    return Worker(
        employee_number=f"E-{raw.id}",
        full_name=raw.party.name or "",
        party_code=raw.party.code,
        company=raw.company.party.name,
        started_on=raw.start_date,
        left_on=raw.end_date,
        supervisor=None if raw.supervisor is None else f"E-{raw.supervisor}",
    )


@mapping(source="erp_api.employees", version=2)
def employed_party(raw: TrytonEmployee) -> Party:
    return Party(code=raw.party.code, employee_number=f"E-{raw.id}")


@mapping(source="erp_api.move_lines", version=2)
def line(raw: TrytonLine) -> LedgerEntry:
    return LedgerEntry(
        line_number=f"L-{raw.id}",
        amount=Money(raw.debit - raw.credit, raw.currency.code or ""),
        description=raw.description,
        account_code=raw.account.code,
        account_name=raw.account.name,
        move_number=raw.move.number,
        move_state=raw.move.state,
        booked_on=raw.move.date,
        party_code=raw.party.code if raw.party else None,
    )
