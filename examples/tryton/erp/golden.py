"""Which golden values Tryton's live edits call for, by what its own tables say of who is who."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

from sluice.testing.example import GoldenValue

CODES = "SELECT id, code FROM party_party WHERE id = ANY(%s)"
EMPLOYED = "SELECT party, id FROM company_employee WHERE party = ANY(%s)"
# Field of an employee's row → field of the golden worker.
WORKER_DATES = {"start_date": "started_on", "end_date": "left_on"}


def golden_values_of(dsn: str, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
    """Of lines of the live log; deletes, and what shows in no golden record, are left out."""
    parties = [edit["id"] for edit in edits if edit["model"] == "party.party"]
    codes: dict[int, str] = {}
    employed: dict[int, int] = {}
    if parties:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            codes = dict(connection.execute(CODES, [parties]).fetchall())
            employed = dict(connection.execute(EMPLOYED, [parties]).fetchall())
    return [value for edit in edits for value in _of(edit, codes, employed)]


def _of(edit: Mapping[str, Any], codes: Mapping[int, str], employed: Mapping[int, int]) -> Iterator[GoldenValue]:
    number, field, value, sent_at = edit["id"], edit["field"], edit["value"], edit["sent_at"]
    match edit["model"], field:
        case "party.party", "name" if number in employed:
            # The name of an employee lives in its party: by the tables to one golden record, by the API to the other.
            yield GoldenValue("party", codes[number], field, value, sent_at)
            yield GoldenValue("worker", f"E-{employed[number]}", "full_name", value, sent_at)
        case "party.party", "name" | "active" if number in codes:
            yield GoldenValue("party", codes[number], field, value, sent_at)
        case "company.employee", "start_date" | "end_date":
            yield GoldenValue("worker", f"E-{number}", WORKER_DATES[field], value, sent_at)
        case "company.employee", "supervisor" if value is not None:
            yield GoldenValue("worker", f"E-{number}", "supervisor", f"E-{value}", sent_at)
        case "account.move.line", "debit":
            yield GoldenValue("ledger_entry", f"L-{number}", "debit", value, sent_at)
