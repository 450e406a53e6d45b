"""What the golden records must be, from the sources alone: HTTP to HR, SQL to finance, and none of Sluice's code.

The normalisation is written a second time here, on purpose in another way than in `sources/`: a test that compared
the mapping with itself could not fail.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import httpx2
import psycopg

Golden = dict[str, dict[str, dict[str, object]]]

_DIAL = {"DE": "49", "FR": "33", "AT": "43", "CH": "41", "GB": "44", "US": "1", "PL": "48"}
_CODE = {
    **{code.lower(): code for code in _DIAL},
    "germany": "DE",
    "deutschland": "DE",
    "france": "FR",
    "austria": "AT",
    "österreich": "AT",
    "switzerland": "CH",
    "schweiz": "CH",
    "united kingdom": "GB",
    "great britain": "GB",
    "united states": "US",
    "usa": "US",
    "poland": "PL",
    "polska": "PL",
}
_TEXTS = (
    "name",
    "firstName",
    "lastName",
    "email",
    "phone",
    "jobTitle",
    "country",
    "costCentre",
    "manager",
    "startDate",
)
_HR_FIELDS = "full_name email phone height job_title country start_date manager cost_centre base_pay hr_updated_at"
_FINANCE_FIELDS = "cost_centre base_pay pay_effective_from iban payroll_notes payroll_updated_at"


def expected(hr_url: str, hr_secret: str, finance_dsn: str) -> Golden:
    """Entity → id → field → value, in the JSON of contributions.

    A record that cannot be mapped is parked, and what it said before stands. HR remembers that. Finance does not: its
    hopeless entry was never another, and no edit makes more of them.
    """
    hr = {}
    for record in listed(hr_url, hr_secret):
        claim = hr_claim(record) or _older_claim(hr_url, record["id"])
        if claim is not None:
            hr[claim["employee_number"]] = claim
    with psycopg.connect(finance_dsn) as connection:
        rows = {row["employee_number"]: payroll_claim(row) for row in _rows(connection, "payroll")}
        centres = {row["code"]: _cost_centre(row) for row in _rows(connection, "cost_centre")}
        ledger = {str(row["id"]): _entry(row) for row in _rows(connection, "ledger_entry") if row["amount"].is_finite()}
    workers = {number: merged(number, hr.get(number), rows.get(number)) for number in {*hr, *rows}}
    return {"worker": workers, "cost_centre": centres, "ledger_entry": ledger}


def merged(number: str, hr: dict[str, Any] | None, finance: dict[str, Any] | None) -> dict[str, object]:
    """One worker: pay from finance first, the cost centre from the last writer, other fields from their only source."""
    fields = {**dict.fromkeys(f"{_HR_FIELDS} {_FINANCE_FIELDS}".split()), **(hr or {}), **(finance or {})}
    if hr and finance and hr["cost_centre"] and hr["hr_updated_at"] > finance["payroll_updated_at"]:
        fields["cost_centre"] = hr["cost_centre"]
    return {**fields, "employee_number": number}


def hr_claim(record: dict[str, Any]) -> dict[str, Any] | None:
    """What an HR record says; None if it is beyond hope."""
    try:
        return _read(record)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _older_claim(hr_url: str, worker_id: str) -> dict[str, Any] | None:
    """What the newest of the earlier records of this worker said that could be read."""
    answer = _http().get(f"{hr_url}/_admin/workers/{worker_id}/earlier").raise_for_status()
    return next((claim for record in answer.json() if (claim := hr_claim(record))), None)


def _read(record: dict[str, Any]) -> dict[str, Any]:
    said = {member: _text(record, member) for member in _TEXTS}
    country = _CODE[said["country"].lower()] if said["country"] is not None else None
    centre = re.search(r"\d+", said["costCentre"] or "")
    return {
        "employee_number": _employee(_text({"number": record["employeeNumber"]}, "number") or ""),
        "full_name": _name(said),
        "email": (said["email"] or "").strip().lower() or None,
        "phone": _phone(said["phone"] or "", country),
        "height": _metres(record.get("height")),
        "job_title": said["jobTitle"],
        "country": country,
        "start_date": _date(said["startDate"]),
        "manager": _employee(said["manager"]) if said["manager"] else None,
        "cost_centre": f"CC-{centre[0]}" if centre else None,
        "base_pay": _pay(record.get("pay")),
        "hr_updated_at": _us(datetime.fromisoformat(record["updatedAt"])),
    }


def payroll_claim(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "cost_centre": row["cost_centre"],
        "base_pay": _money(row["base_pay"], row["currency"]),
        "pay_effective_from": row["effective_from"] and row["effective_from"].isoformat(),
        "iban": row["iban"],
        "payroll_notes": row["notes"],
        "payroll_updated_at": _us(row["updated_at"]),
    }


def _cost_centre(row: dict[str, Any]) -> dict[str, object]:
    fields: dict[str, object] = {name: row[name] for name in ("code", "name", "currency")}
    return {**fields, "owner": row["owner_employee_number"], "updated_at": _us(row["updated_at"])}


def _entry(row: dict[str, Any]) -> dict[str, object]:
    return {
        "entry_number": str(row["id"]),
        "cost_centre": row["cost_centre"],
        "employee_number": row["employee_number"],
        "booked_at": _us(row["booked_at"]),
        "amount": _money(row["amount"], row["currency"]),
        "text": row["text"],
    }


def _text(record: dict[str, Any], member: str) -> str | None:
    value = record.get(member)
    if value is not None and (not isinstance(value, str) or "\0" in value):
        raise ValueError(member)
    return value


def _employee(text: str) -> str:
    if not re.search(r"\d", text):
        raise ValueError("no number")
    return "E" + text.strip().upper().removeprefix("E").removeprefix("-")


def _name(said: dict[str, str | None]) -> str | None:
    whole = said["name"]
    parts = whole.split(",") if whole is not None else [said["lastName"] or "", said["firstName"] or ""]
    return re.sub(r"\s+", " ", " ".join(reversed(parts))).strip() or None


def _phone(text: str, country: str | None) -> str | None:
    digits = "".join(c for c in text.replace("(0)", "") if c.isdigit())
    if not digits:
        return None
    if text.startswith("+") or digits.startswith("00"):
        return "+" + digits.removeprefix("00")
    return f"+{_DIAL[country]}{digits[1:]}" if country else None


def _metres(height: Any) -> str | None:
    if height is None:
        return None
    numbers = [Decimal(number) for number in re.findall(r"\d+(?:\.\d+)?", str(height).replace(",", "."))]
    if len(numbers) == 2:
        value = (12 * numbers[0] + numbers[1]) * Decimal("2.54") / 100
    else:
        (number,) = numbers
        value = number if number < 3 else number / 100
    if value >= 100:
        raise ValueError("height")
    return f"{round(value, 2):.2f}"


def _date(text: str | None) -> str | None:
    if text is None:
        return None
    pattern = "%d.%m.%Y" if "." in text else "%Y-%m-%d"
    parsed: date = datetime.strptime(text, pattern).replace(tzinfo=UTC).date()
    return parsed.isoformat()


def _pay(pay: Any) -> Any:
    if pay is None:
        return None
    if isinstance(pay, int):
        return _money(Decimal(pay) / 100, "EUR")
    if isinstance(pay, dict):
        return _money(Decimal(pay["amount"]), pay["currency"])
    german = re.fullmatch(r"([\d.]+),(\d\d) ([A-Z]{3})", pay)
    if german is None:
        raise ValueError("pay")
    return _money(Decimal(f"{german[1].replace('.', '')}.{german[2]}"), german[3])


def _money(amount: Decimal, currency: str) -> dict[str, str]:
    return {"amount": f"{amount:.4f}", "currency": currency}


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _rows(connection: psycopg.Connection[Any], table: str) -> Iterator[dict[str, Any]]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        cursor.execute(psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier("public", table)))
        yield from cursor


@cache
def _http() -> httpx2.Client:
    """One for all requests: making a client reads the certificates of all authorities."""
    return httpx2.Client(timeout=30)


def listed(url: str, secret: str, client: str = "sluice") -> Iterator[dict[str, Any]]:
    """Every record that the HR API lists, page by page."""
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
    token = _http().post(f"{url}/oauth/token", data=form).raise_for_status().json()["access_token"]
    page: str | None = f"{url}/workers?limit=500"
    while page:
        answer = _page(page, token)
        yield from answer["data"]
        page = answer["links"]["next"]


def _page(url: str, token: str, deadline_s: float = 30.0) -> Any:
    """One page; asks again after a 429 or 500, which HR gives now and then, within the deadline."""
    last = time.monotonic() + deadline_s
    while True:
        answer = _http().get(url, headers={"Authorization": f"Bearer {token}"})
        if answer.status_code not in (429, 500) or time.monotonic() > last:
            return answer.raise_for_status().json()
        time.sleep(float(answer.headers.get("Retry-After", 0.1)))
