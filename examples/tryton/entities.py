"""The company's golden records, and which way into Tryton is preferred for which field.

Tryton's API shows what a record means: an employee's name, which is in its party, or the code of an account. Tryton's
tables show at once what a row contains, and when it is deleted.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from sluice.entities import UNCLAIMED, Entity, Identity, Money, Scale, most_recent, prefer

Amount = Annotated[Decimal, Scale(38, 4)]


class Worker(Entity):
    """An employee of the company. Complete if both the API and the tables have it."""

    employee_number: Annotated[str, Identity()]
    full_name: Annotated[str, prefer("erp_api")] = UNCLAIMED
    party_code: Annotated[str, prefer("erp_api")] = UNCLAIMED
    company: str | None = UNCLAIMED
    recorded_at: Annotated[datetime, prefer("erp_db")] = UNCLAIMED
    started_on: Annotated[date | None, prefer("erp_db", "erp_api")]
    left_on: Annotated[date | None, most_recent()]
    supervisor: Annotated[str | None, prefer("erp_db", "erp_api")]


class Party(Entity):
    """A person or organisation that the company deals with. An employee's party has an `employee_number`."""

    code: Annotated[str, Identity()]
    name: str | None = UNCLAIMED
    active: bool = UNCLAIMED
    recorded_at: datetime = UNCLAIMED
    employee_number: str | None = UNCLAIMED


class LedgerEntry(Entity):
    """One line of a move in the books. The row has its amounts, the API the names of the records that it refers to."""

    line_number: Annotated[str, Identity()]
    debit: Annotated[Amount, prefer("erp_db")] = UNCLAIMED
    credit: Annotated[Amount, prefer("erp_db")] = UNCLAIMED
    amount: Money | None = UNCLAIMED
    description: Annotated[str | None, prefer("erp_db", "erp_api")]
    account_code: str | None = UNCLAIMED
    account_name: str | None = UNCLAIMED
    move_number: str | None = UNCLAIMED
    move_state: str | None = UNCLAIMED
    booked_on: date | None = UNCLAIMED
    party_code: str | None = UNCLAIMED
