"""The made-up company behind both source systems: who works there, where, for how much.

The HR API and the finance database are generated from it, each in its own spelling. Every fact is a pure function of
(seed, number), so that two processes agree on worker 17 without talking to each other.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import NamedTuple


def _words(text: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(text.split(separator))


class Country(NamedTuple):
    code: str
    names: tuple[str, ...]
    dial_code: str
    currency: str


COUNTRIES = (
    Country("DE", ("Germany", "Deutschland"), "49", "EUR"),
    Country("FR", ("France",), "33", "EUR"),
    Country("AT", ("Austria", "Österreich"), "43", "EUR"),
    Country("CH", ("Switzerland", "Schweiz"), "41", "CHF"),
    Country("GB", ("United Kingdom", "Great Britain"), "44", "GBP"),
    Country("US", ("United States", "USA"), "1", "USD"),
    Country("PL", ("Poland", "Polska"), "48", "PLN"),
)
_COUNTRY_WEIGHTS = (40, 12, 10, 8, 12, 10, 8)
_FIRST = _words(
    "Ada Alan Anna Björn Carla Chloé Daniel Edsger Élodie Emma Erik Farid Frances Grace Hedy Ines Jörg Jürgen Karl "
    "Katarzyna Lena Liam Łukasz Maja Marie Nils Olga Paul Radia Rosa Søren Tim Ursula Werner Zoë"
)
_LAST = _words(
    "Adamska Allen Bauer Becker Černý Dijkstra Dupont Fischer García Goldberg Grünwald Hamilton Hoffmann Hopper Huber "
    "Jansen Keller Kowalski Lamarr Lovelace Maier Müller Nowak Perlman Richter Rossi Schmidt Schröder Suárez Turing "
    "Vogel Weber Wójcik Zimmermann"
)
_JOBS = _words(
    "Accountant, Analyst, Buyer, Controller, Data Engineer, Designer, Driver, Electrician, Field Technician, "
    "Foreman, Nurse, Payroll Clerk, Planner, Recruiter, Sales Manager, Software Engineer, Support Agent, Welder",
    ", ",
)
_DEPARTMENTS = _words("Assembly Audit Design Fleet Foundry Legal Logistics Marketing Research Sales Service Treasury")
COST_CENTRES = 60
PAY_CENTS_MIN, PAY_CENTS_MAX = 210_000, 980_000


class Person(NamedTuple):
    """The facts about one worker. `height_cm` centimetres; `pay_cents` a month, in hundredths of the currency."""

    number: int
    first: str
    last: str
    country: Country
    phone: str
    height_cm: int
    job_title: str
    cost_centre: int
    manager: int | None
    start: date
    pay_cents: int

    @property
    def email(self) -> str:
        letters = "".join(c for c in f"{self.first}.{self.last}".lower() if c.isascii())
        return f"{letters}.{self.number}@sluice-works.example"


class CostCentre(NamedTuple):
    code: str
    name: str
    owner: int
    currency: str


def person(seed: int, number: int) -> Person:
    """Worker `number` (from 1)."""
    rng = Random(f"{seed}/person/{number}")
    return Person(
        number=number,
        first=rng.choice(_FIRST),
        last=rng.choice(_LAST),
        country=any_country(rng),
        phone=any_phone(rng),
        height_cm=rng.randint(150, 205),
        job_title=any_job(rng),
        cost_centre=any_cost_centre(rng),
        manager=rng.randint(1, max(1, number // 10)) if number > 10 else None,
        start=date(2001, 1, 1) + timedelta(days=rng.randrange(9_000)),
        pay_cents=any_pay_cents(rng),
    )


def cost_centre(seed: int, number: int) -> CostCentre:
    """Cost centre `number` (0 … COST_CENTRES - 1, and beyond for ones opened later)."""
    rng = Random(f"{seed}/cost-centre/{number}")
    name = f"{rng.choice(_DEPARTMENTS)} {any_country(rng).names[0]}"
    return CostCentre(cost_centre_code(number), name, rng.randint(1, 200), any_country(rng).currency)


def employee_number(number: int) -> str:
    """As finance spells it; HR spells it in several ways."""
    return f"E{number:05d}"


def cost_centre_code(number: int) -> str:
    return f"CC-{1000 + 10 * number}"


def any_country(rng: Random) -> Country:
    return rng.choices(COUNTRIES, _COUNTRY_WEIGHTS)[0]


def any_phone(rng: Random) -> str:
    """A national number without its leading zero: area code, a space, subscriber."""
    return f"{rng.randint(20, 99)} {rng.randint(1_000_000, 9_999_999)}"


def any_job(rng: Random) -> str:
    return rng.choice(_JOBS)


def any_last_name(rng: Random) -> str:
    return rng.choice(_LAST)


def any_cost_centre(rng: Random) -> int:
    return rng.randrange(COST_CENTRES)


def any_pay_cents(rng: Random) -> int:
    return rng.randint(PAY_CENTS_MIN, PAY_CENTS_MAX)
