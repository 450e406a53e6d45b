"""From rows of Tryton's own tables, as change data capture delivers them, to claims.

Dates arrive as days and times as microseconds since 1970, numerics as texts. Tryton writes times in UTC.
"""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel

from sluice.entities import EpochDate, MicroTimestamp, mapping

from ...entities import LedgerEntry, Party, Worker


class EmployeeRow(BaseModel):
    """`public.company_employee`. `write_date` is null until the first change."""

    id: int
    create_date: MicroTimestamp
    write_date: MicroTimestamp | None
    start_date: EpochDate | None
    end_date: EpochDate | None
    supervisor: int | None

    def changed_at(self) -> datetime:
        return max(self.create_date, self.write_date or self.create_date)


class PartyRow(BaseModel):
    """`public.party_party`."""

    code: str
    name: str | None
    active: bool | None
    create_date: MicroTimestamp


class LineRow(BaseModel):
    """`public.account_move_line`; its currency is the company's, which the row does not contain."""

    id: int
    debit: Decimal
    credit: Decimal
    description: str | None


@mapping(source="erp_db.public.company_employee", version=2, effective_at=EmployeeRow.changed_at)
def employee_row(raw: EmployeeRow) -> Worker:
    return Worker(
        employee_number=f"E-{raw.id}",
        recorded_at=raw.create_date,
        started_on=raw.start_date,
        left_on=raw.end_date,
        supervisor=None if raw.supervisor is None else f"E-{raw.supervisor}",
    )


@mapping(source="erp_db.public.party_party", version=2)
def party_row(raw: PartyRow) -> Party:
    return Party(code=raw.code, name=raw.name, active=bool(raw.active), recorded_at=raw.create_date)


@mapping(source="erp_db.public.account_move_line", version=2)
def line_row(raw: LineRow) -> LedgerEntry:
    return LedgerEntry(
        line_number=f"L-{raw.id}",
        debit=raw.debit,
        credit=raw.credit,
        description=raw.description,
    )
