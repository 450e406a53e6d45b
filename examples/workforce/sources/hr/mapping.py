"""HR: one record per worker, with values in many spellings."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from sluice.entities import UNCLAIMED, Money, mapping

from ...entities import Worker, employee_id

COUNTRIES = {
    "DE": ("GERMANY", "DEUTSCHLAND"),
    "FR": ("FRANCE",),
    "AT": ("AUSTRIA", "ÖSTERREICH"),
    "CH": ("SWITZERLAND", "SCHWEIZ"),
    "GB": ("UNITED KINGDOM", "GREAT BRITAIN"),
    "US": ("UNITED STATES", "USA"),
    "PL": ("POLAND", "POLSKA"),
}
DIAL_CODES = {"DE": "49", "FR": "33", "AT": "43", "CH": "41", "GB": "44", "US": "1", "PL": "48"}

Value = TypeVar("Value")


class Pay(BaseModel):
    amount: Decimal
    currency: str


class HrWorker(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    employee_number: str
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    height: Decimal | str | None = None
    job_title: str | None = None
    country: str | None = None
    cost_centre: str | None = None
    manager: str | None = None
    start_date: str | None = None
    pay: int | Pay | str | None = None
    updated_at: datetime

    def changed_at(self) -> datetime:
        return self.updated_at


@mapping(source="hr.workers", version=4, effective_at=HrWorker.changed_at)
def worker(raw: HrWorker) -> Worker:
    return Worker(
        employee_number=raw.employee_number,
        full_name=known(full_name(raw)),
        email=known(raw.email and raw.email.strip().lower()),
        phone=known(raw.phone and e164(raw.phone, country_code(raw.country))),
        height=known(metres(raw.height)),
        job_title=known(raw.job_title),
        country=known(country_code(raw.country)),
        start_date=known(day(raw.start_date)),
        manager=known(raw.manager and employee_id(raw.manager)),
        cost_centre=known(raw.cost_centre and "CC-" + raw.cost_centre.upper().removeprefix("CC-")),
        base_pay=known(money(raw.pay)),
        hr_updated_at=raw.updated_at,
    )


def known(value: Value | None) -> Value:
    """No claim for None: a cost centre that is blank in HR must not hide the one that finance knows."""
    return UNCLAIMED if value is None else value


def full_name(raw: HrWorker) -> str | None:
    """`"Lovelace, Ada"`, `" Ada  Lovelace "` or two members: first name, one space, last name."""
    name = raw.name if raw.name is not None else f"{raw.first_name or ''} {raw.last_name or ''}"
    last, comma, first = name.partition(",")
    return " ".join(f"{first} {last}".split() if comma else name.split()) or None


def country_code(text: str | None) -> str | None:
    """A code as it is, a name by the table."""
    if text is None:
        return None
    wanted = text.strip().upper()
    return next(code for code, names in COUNTRIES.items() if wanted == code or wanted in names)


def e164(text: str, country: str | None) -> str | None:
    """`+<country><number>`; a national number needs to know the country, else no one can dial it."""
    digits = re.sub(r"[^0-9+]", "", text.replace("(0)", ""))
    if digits.startswith("00"):
        return "+" + digits[2:]
    if digits.startswith("0"):
        return f"+{DIAL_CODES[country]}{digits[1:]}" if country else None
    return digits


def metres(height: Decimal | str | None) -> Decimal | None:
    """Centimetres, metres, or feet and inches. A number below 3 can only be metres."""
    if isinstance(height, str):
        if imperial := re.fullmatch(r"(\d+)(?: ft |')(\d+)(?: in|\")", height):
            return (int(imperial[1]) * 12 + int(imperial[2])) * Decimal("0.0254")
        number, unit = height.replace(",", ".").split()
        return Decimal(number) / {"cm": 100, "m": 1}[unit]
    return height / 100 if height is not None and height >= 3 else height


def day(text: str | None) -> date | None:
    """ISO 8601, or day.month.year."""
    return text and date.fromisoformat("-".join(reversed(text.split("."))))  # type: ignore[return-value]


def money(pay: int | Pay | str | None) -> Money | None:
    """An object, `"4.200,00 EUR"`, or whole cents, which are euros."""
    if isinstance(pay, Pay):
        return Money(pay.amount, pay.currency)
    if isinstance(pay, int):
        return Money(Decimal(pay) / 100, "EUR")
    if pay is None:
        return None
    amount, currency = pay.split()
    return Money(Decimal(amount.replace(".", "").replace(",", ".")), currency)
