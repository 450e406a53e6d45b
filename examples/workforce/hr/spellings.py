"""How HR writes things down: the same fact in several spellings, some members null, some not there at all.

The disorder is the point of the example: it is what the mapping has to straighten out.
"""

from __future__ import annotations

from random import Random
from typing import Any

from .. import company
from ..company import Person

# Workers whose records no mapping can read, whatever the seed: they must end as dead letters. The live editor
# never touches them, so that their number does not change under the reader's eyes.
HOPELESS: dict[str, str] = {
    "W-13": "pay is not an amount",
    "W-42": "no employee number",
    "W-77": "a NUL byte in the name",
}
_OPTIONAL = ("email", "phone", "height", "country", "costCentre", "manager", "startDate", "pay")


def worker(person: Person, seed: int) -> dict[str, Any]:
    """The record of `person` as HR first wrote it, without `updatedAt`."""
    rng = Random(f"{seed}/spelling/{person.number}")
    record = {
        "id": f"W-{person.number}",
        "employeeNumber": employee_number(person.number, rng),
        **name(person.first, person.last, rng),
        "email": person.email if rng.random() < 0.8 else f" {person.email.upper()}",
        "phone": phone(person.phone, person.country.dial_code, rng),
        "height": height(person.height_cm, rng),
        "jobTitle": person.job_title,
        "country": rng.choice((person.country.code, person.country.code.lower(), *person.country.names)),
        "costCentre": cost_centre(person.cost_centre, rng),
        "manager": employee_number(person.manager, rng) if person.manager else None,
        "startDate": person.start.isoformat() if rng.random() < 0.6 else person.start.strftime("%d.%m.%Y"),
        "pay": pay(person.pay_cents, person.country.currency, rng),
    }
    for member in _OPTIONAL:
        fate = rng.random()
        if fate < 0.03:
            record[member] = None
        elif fate < 0.06:
            del record[member]
    return _spoil(record)


def employee_number(number: int, rng: Random) -> str:
    return rng.choice(("E-{:05d}", "E-{:05d}", "E{:05d}", "e-{:05d}", " E-{:05d} ")).format(number)


def name(first: str, last: str, rng: Random) -> dict[str, str]:
    """Either two members, or one `name` in one of two orders; stray spaces here and there."""
    kind = rng.randrange(4)
    if kind == 0:
        return {"name": f"{last}, {first}"}
    if kind == 1:
        return {"name": f" {first}  {last} "}
    return {"firstName": first if kind == 2 else f"{first} ", "lastName": last if kind == 2 else f"  {last}"}


def phone(national: str, dial_code: str, rng: Random) -> str:
    area, subscriber = national.split(" ")
    return rng.choice(
        (
            f"+{dial_code} {area} {subscriber}",
            f"00{dial_code}-{area}-{subscriber}",
            f"0{area}/{subscriber}",
            f"+{dial_code} (0){area} {subscriber[:3]} {subscriber[3:]}",
        )
    )


def height(height_cm: int, rng: Random) -> int | float | str:
    """Centimetres as a number or text, metres as a number or text, or feet and inches."""
    feet, inches = divmod(round(height_cm / 2.54), 12)
    spellings = (
        height_cm,
        f"{height_cm} cm",
        height_cm / 100,
        f"{height_cm / 100:.2f} m".replace(".", ","),
        f"{feet} ft {inches} in",
        f"{feet}'{inches}\"",
    )
    return spellings[rng.randrange(len(spellings))]


def cost_centre(number: int, rng: Random) -> str:
    code = company.cost_centre_code(number)
    return rng.choice((code, code, code.lower(), code.removeprefix("CC-")))


def pay(cents: int, currency: str, rng: Random) -> int | str | dict[str, str]:
    """An object, a German text, or, for euros only, whole cents."""
    kind = rng.randrange(3)
    if kind == 0 and currency == "EUR":
        return cents
    if kind == 1:
        text = f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))
        return f"{text} {currency}"
    return {"amount": f"{cents // 100}.{cents % 100:02d}", "currency": currency}


def _spoil(record: dict[str, Any]) -> dict[str, Any]:
    if record["id"] == "W-13":
        record["pay"] = "n/a yet"
    elif record["id"] == "W-42":
        del record["employeeNumber"]
    elif record["id"] == "W-77":
        record = {k: v for k, v in record.items() if k not in ("name", "firstName", "lastName")}
        record["name"] = "Nul\u0000Byte"
    return record
