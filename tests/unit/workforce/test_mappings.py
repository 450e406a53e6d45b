"""The workforce mappings straighten out each spelling that the sources use, and refuse what has no meaning."""

from typing import Any

import pytest

from sluice.entities import Mapping
from sluice.errors import DeadRecord
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings
from support.workforce import FOLDER


@pytest.fixture(scope="module")
def mappings() -> dict[str, Mapping]:
    return {mapping.name: mapping for mapping in load_mappings(load_pipeline(FOLDER))}


@pytest.fixture(scope="module")
def worker(mappings: dict[str, Mapping]) -> Mapping:
    return mappings["worker"]


def claimed(worker: Mapping, **members: Any) -> dict[str, Any]:
    record = {"id": "W-1", "employeeNumber": "E-00001", "updatedAt": "2026-01-01T00:00:00Z", **members}
    (claim,) = worker.apply(record)
    return claim.fields


@pytest.mark.parametrize("spelling", ["E-00017", "e-00017", "E00017", " E-00017 "])
def test_an_employee_number_in_any_spelling_is_one_worker(worker: Mapping, spelling: str) -> None:
    (claim,) = worker.apply({"employeeNumber": spelling, "updatedAt": "2026-01-01T00:00:00Z"})
    assert claim.entity_id == "E00017"


@pytest.mark.parametrize(
    "members",
    [
        {"name": "Lovelace, Ada"},
        {"name": " Ada  Lovelace "},
        {"firstName": "Ada ", "lastName": "  Lovelace"},
    ],
)
def test_a_name_is_first_name_then_last_name_however_it_was_written(worker: Mapping, members: dict[str, str]) -> None:
    assert claimed(worker, **members)["full_name"] == "Ada Lovelace"


@pytest.mark.parametrize("spelling", [178, "178 cm", 1.78, "1,78 m", "5 ft 10 in", "5'10\""])
def test_a_height_is_metres_whatever_unit_it_was_written_in(worker: Mapping, spelling: object) -> None:
    assert claimed(worker, height=spelling)["height"] == "1.78"


@pytest.mark.parametrize("spelling", [420000, "4.200,00 EUR", {"amount": "4200.00", "currency": "EUR"}])
def test_pay_is_an_amount_and_a_currency_whatever_it_was_written_as(worker: Mapping, spelling: object) -> None:
    assert claimed(worker, pay=spelling)["base_pay"] == {"amount": "4200.0000", "currency": "EUR"}


@pytest.mark.parametrize("spelling", ["+49 30 1234567", "0049-30-1234567", "030/1234567", "+49 (0)30 123 4567"])
def test_a_phone_number_is_written_so_that_anybody_can_dial_it(worker: Mapping, spelling: str) -> None:
    assert claimed(worker, phone=spelling, country="Germany")["phone"] == "+49301234567"


def test_a_national_number_without_a_country_is_no_phone_number(worker: Mapping) -> None:
    assert "phone" not in claimed(worker, phone="030/1234567")


@pytest.mark.parametrize("spelling", ["2015-07-13", "13.07.2015"])
def test_a_start_date_is_a_date_in_either_order(worker: Mapping, spelling: str) -> None:
    assert claimed(worker, startDate=spelling)["start_date"] == "2015-07-13"


@pytest.mark.parametrize("blank", [{}, {"costCentre": None}])
def test_a_cost_centre_that_hr_left_blank_is_not_claimed(worker: Mapping, blank: dict[str, None]) -> None:
    assert "cost_centre" not in claimed(worker, **blank)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"pay": "n/a yet"}, "mapping-failed"),
        ({"country": "Atlantis"}, "mapping-failed"),
        ({"name": "Nul\0Byte"}, "nul-character"),
        ({"updatedAt": "yesterday"}, "wrong-type"),
        ({"height": "tall"}, "mapping-failed"),
    ],
)
def test_what_has_no_meaning_becomes_a_dead_letter_that_does_not_quote_it(
    worker: Mapping, members: dict[str, str], code: str
) -> None:
    with pytest.raises(DeadRecord) as refused:
        claimed(worker, **members)
    assert refused.value.code == code
    assert next(iter(members.values())) not in str(refused.value)


def test_a_record_without_employee_number_names_the_member_that_is_missing(worker: Mapping) -> None:
    with pytest.raises(DeadRecord, match=r"missing-member.*employeeNumber"):
        worker.apply({"id": "W-42", "updatedAt": "2026-01-01T00:00:00Z"})


def test_a_payroll_row_is_read_as_the_change_event_spells_it(mappings: dict[str, Mapping]) -> None:
    row = {
        "employee_number": "E00017",
        "base_pay": "4200.00",
        "currency": "EUR",
        "iban": None,
        "cost_centre": "CC-1000",
        "notes": None,
        "effective_from": 19723,
        "updated_at": "2024-01-01T00:00:00.000001Z",
    }
    (claim,) = mappings["payroll"].apply(row)
    assert claim.fields["base_pay"] == {"amount": "4200.0000", "currency": "EUR"}
    assert claim.fields["pay_effective_from"] == "2024-01-01"
    assert claim.effective_at == claim.fields["payroll_updated_at"] == 1704067200000001


def test_a_booking_of_nan_becomes_a_dead_letter(mappings: dict[str, Mapping]) -> None:
    row = {"id": 13, "cost_centre": "CC-1000", "employee_number": None, "currency": "EUR", "text": None}
    with pytest.raises(DeadRecord, match="amount"):
        mappings["ledger_entry"].apply({**row, "amount": "NaN", "booked_at": "2024-01-01T00:00:00Z"})
