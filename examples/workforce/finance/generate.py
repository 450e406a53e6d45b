"""The rows of the finance database, as a pure function of a seed: the same employees that HR has, seen by payroll."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from .. import company

# A ledger entry whose amount is NaN, which Postgres allows and no contract does: it must end as a dead letter.
HOPELESS_LEDGER_ENTRY = 13
_OPENING = datetime(2024, 1, 1, tzinfo=UTC)
_SHARE_ON_PAYROLL = 0.95
_LONG_NOTE_SHARE = 0.03
_REMARK_WORDS = (
    "advance,agreed,annual,audit,bank,bonus,canteen,car,child,closed,commute,corrected,deduction,deposit,dispute,"
    "garnishment,housing,insurance,letter,loan,meal,night,overtime,parental,pension,recovered,relocation,retroactive,"
    "seniority,shift,sick,tax,travel,union,waiver"
)
_REMARKS = _REMARK_WORDS.split(",")


class CostCentre(NamedTuple):
    code: str
    name: str
    owner_employee_number: str | None
    currency: str
    updated_at: datetime


class Payroll(NamedTuple):
    employee_number: str
    base_pay: Decimal
    currency: str
    iban: str | None
    cost_centre: str | None
    notes: str | None
    effective_from: date | None
    updated_at: datetime


class LedgerEntry(NamedTuple):
    id: int
    cost_centre: str
    employee_number: str | None
    booked_at: datetime
    amount: Decimal
    currency: str
    text: str | None


def cost_centres(seed: int) -> Iterator[CostCentre]:
    for number in range(company.COST_CENTRES):
        centre = company.cost_centre(seed, number)
        owner = company.employee_number(centre.owner)
        yield CostCentre(centre.code, centre.name, owner, centre.currency, _moment(Random(f"{seed}/centre/{number}")))


def payrolls(seed: int, workers: int) -> Iterator[Payroll]:
    """Most of the first `workers` workers; some are paid by others."""
    for number in range(1, workers + 1):
        rng = Random(f"{seed}/payroll/{number}")
        if rng.random() < _SHARE_ON_PAYROLL:
            yield payroll(company.person(seed, number), rng, _moment(rng))


def payroll(person: company.Person, rng: Random, updated_at: datetime) -> Payroll:
    """The payroll of `person`. Finance mostly agrees with HR on pay and cost centre, but not always."""
    cents = person.pay_cents if rng.random() < 0.7 else company.any_pay_cents(rng)
    centre = person.cost_centre if rng.random() < 0.8 else company.any_cost_centre(rng)
    return Payroll(
        employee_number=company.employee_number(person.number),
        base_pay=Decimal(cents).scaleb(-2),
        currency=person.country.currency,
        iban=f"{person.country.code}{rng.randrange(10**18, 10**19)}" if rng.random() < 0.97 else None,
        cost_centre=company.cost_centre_code(centre) if rng.random() < 0.98 else None,
        notes=notes(rng),
        effective_from=date(2023, 1, 1) + timedelta(days=rng.randrange(700)) if rng.random() < 0.9 else None,
        updated_at=updated_at,
    )


def ledger_entries(seed: int, workers: int, entries: int) -> Iterator[LedgerEntry]:
    rng = Random(f"{seed}/ledger")
    for entry_id in range(1, entries + 1):
        entry = ledger_entry(entry_id, rng, workers, _moment(rng))
        yield entry._replace(amount=Decimal("NaN")) if entry_id == HOPELESS_LEDGER_ENTRY else entry


def ledger_entry(entry_id: int, rng: Random, workers: int, booked_at: datetime) -> LedgerEntry:
    country = company.any_country(rng)
    return LedgerEntry(
        id=entry_id,
        cost_centre=company.cost_centre_code(company.any_cost_centre(rng)),
        employee_number=company.employee_number(rng.randint(1, workers)) if rng.random() < 0.7 else None,
        booked_at=booked_at,
        amount=Decimal(rng.randrange(-500_000, 2_000_000)).scaleb(-2),
        currency=country.currency,
        text=f"{rng.choice(_REMARKS)} {rng.choice(_REMARKS)}" if rng.random() < 0.9 else None,
    )


def notes(rng: Random) -> str | None:
    """Nothing, a few words, or, on a few rows, more than fits a page of Postgres, so that it is stored out of line."""
    kind = rng.random()
    if kind < 0.6:
        return None
    words = rng.randint(1_200, 2_500) if kind > 1 - _LONG_NOTE_SHARE else rng.randint(2, 8)
    return " ".join(rng.choices(_REMARKS, k=words))


def _moment(rng: Random) -> datetime:
    return _OPENING + timedelta(microseconds=rng.randrange(500 * 86_400 * 1_000_000))
