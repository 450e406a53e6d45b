"""The Tryton example's mappings on its example records."""

from typing import Any

import pytest

from sluice.entities import Claim, EntityContract, Mapping
from sluice.errors import DeadRecord
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from support.tryton import EXAMPLE, example_records


@pytest.fixture(scope="module")
def mappings() -> dict[str, Mapping]:
    return {mapping.name: mapping for mapping in load_mappings(load_pipeline(EXAMPLE / "pipeline.yaml"))}


@pytest.fixture(scope="module")
def contracts() -> dict[str, EntityContract]:
    return load_entities(load_pipeline(EXAMPLE / "pipeline.yaml"))


def claims(mapping: Mapping, example: str) -> list[Claim]:
    return mapping.apply(example_records(mapping.source, mapping.stream)[example])


def test_every_mapping_has_examples_and_understands_them(mappings: dict[str, Mapping]) -> None:
    for mapping in mappings.values():
        found = example_records(mapping.source, mapping.stream)
        assert len(found) >= 2, mapping.stream
        for record in found.values():
            assert mapping.apply(record)


def test_every_field_is_claimed_by_some_mapping(
    mappings: dict[str, Mapping], contracts: dict[str, EntityContract]
) -> None:
    claimed: dict[str, set[str]] = {}
    for mapping in mappings.values():
        for record in example_records(mapping.source, mapping.stream).values():
            for claim in mapping.apply(record):
                claimed.setdefault(claim.entity, set()).update(claim.fields)
    assert claimed == {name: set(contract.fields) for name, contract in contracts.items()}


def test_both_paths_name_a_worker_alike(mappings: dict[str, Mapping]) -> None:
    record = example_records("erp_api", "employees")["has_left"]
    row = example_records("erp_db", "public.company_employee")["has_left"] | {"id": record["id"]}
    (from_api,), (from_db,) = mappings["employee"].apply(record), mappings["employee_row"].apply(row)
    assert from_api.entity_id == from_db.entity_id == f"E-{record['id']}"


def test_a_worker_has_its_name_from_the_api_and_its_record_from_the_tables(mappings: dict[str, Mapping]) -> None:
    (from_api,), (from_db,) = claims(mappings["employee"], "has_left"), claims(mappings["employee_row"], "has_left")
    assert "full_name" in from_api.fields
    assert "recorded_at" not in from_api.fields
    assert "recorded_at" in from_db.fields
    assert "full_name" not in from_db.fields


def test_an_employee_also_says_which_party_is_one_of_our_people(mappings: dict[str, Mapping]) -> None:
    record = example_records("erp_api", "employees")["has_left"]
    (claim,) = mappings["employed_party"].apply(record)
    assert claim.entity_id == record["party."]["code"]
    assert claim.fields["employee_number"] == f"E-{record['id']}"


def test_the_effective_time_is_the_employees_own_and_not_its_partys(mappings: dict[str, Mapping]) -> None:
    record = example_records("erp_api", "employees")["never_changed"]
    (before,) = mappings["employee"].apply(record)
    later: dict[str, Any] = {**record["party."]["create_date"], "year": 2031}
    (after,) = mappings["employee"].apply({**record, "party.": {**record["party."], "write_date": later}})
    assert before.effective_at == after.effective_at


def test_days_and_microseconds_of_a_row_become_dates_and_times(mappings: dict[str, Mapping]) -> None:
    row = example_records("erp_db", "public.company_employee")["hired"]
    (claim,) = mappings["employee_row"].apply({**row, "start_date": 20_000, "create_date": 1_700_000_000_000_001})
    assert claim.fields["started_on"] == "2024-10-04"
    assert claim.fields["recorded_at"] == 1_700_000_000_000_001


def test_an_amount_is_signed_and_in_the_companys_currency(mappings: dict[str, Mapping]) -> None:
    record = example_records("erp_api", "move_lines")["revenue_draft"]
    (claim,) = mappings["line"].apply(record)
    assert claim.fields["amount"]["currency"] == "EUR"
    assert claim.fields["amount"]["amount"].startswith("-")


def test_a_party_without_a_name_is_still_a_party(mappings: dict[str, Mapping]) -> None:
    (claim,) = claims(mappings["party_row"], "without_activity")
    assert claim.fields["name"] is None
    assert claim.fields["active"] is False


@pytest.mark.parametrize(
    "value", [{"__class__": "date", "year": 2026}, {"__class__": "bytes", "base64": "secret"}, "secret", 7, [1]]
)
def test_a_date_that_is_none_is_a_dead_record_that_does_not_quote_it(
    mappings: dict[str, Mapping], value: object
) -> None:
    record = {**example_records("erp_api", "employees")["has_left"], "start_date": value}
    with pytest.raises(DeadRecord) as caught:
        mappings["employee"].apply(record)
    assert "secret" not in str(caught.value)
    assert "start_date" in str(caught.value)
