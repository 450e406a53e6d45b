"""Contributions: their JSON, their key, their order, their hash."""

import json

import pytest
from hypothesis import given

from sluice.errors import DeadRecord
from sluice.position import Position
from sluice.provenance import Contribution, contribution_content
from support.claims import contribution, contributions


@given(contributions())
def test_json_and_back_is_the_same(contributions: list[Contribution]) -> None:
    for one in contributions:
        assert Contribution.from_json(one.to_json()) == one


def test_the_json_has_the_members_that_readers_are_promised() -> None:
    value = json.loads(contribution().to_json())
    assert value["position"] == [1, 1, 1]
    assert value["raw"] == {"topic": "raw.workday.workers", "partition": 0, "offset": 1}
    assert set(value) == {
        *("entity_id", "source", "stream", "source_key", "mapping", "mapping_version", "output", "position", "raw"),
        *("observed_at", "effective_at", "contract", "fields", "retracted", "content"),
    }


def test_the_key_is_a_json_array_without_spaces_and_the_source_key_a_string_in_it() -> None:
    assert contribution(source="erp", source_key='{"id":17}').key == (
        b'["W","erp","workers","{\\"id\\":17}","worker","main"]'
    )


def test_claims_are_ordered_by_position_then_version_then_retraction() -> None:
    base = contribution()
    orders = [
        base.replace(position=Position(1, 0, 9)).claim_order,
        base.claim_order,
        base.replace(retracted=True).claim_order,
        base.replace(mapping_version=2).claim_order,
        base.replace(position=Position(1, 10, 0)).claim_order,
        base.replace(position=Position(2, 0, 0)).claim_order,
    ]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


def test_the_content_hash_covers_the_claim_and_nothing_else() -> None:
    base = contribution()
    same = base.replace(position=Position(9, 9, 9), mapping_version=7, observed_at=99).sealed()
    assert same.content == base.content
    others = {
        base.replace(fields={"full_name": "Zoe"}).sealed().content,
        base.replace(effective_at=None).sealed().content,
        base.replace(fields={"full_name": None}).sealed().content,
        base.replace(fields={}).sealed().content,
        contribution(retracted=True).content,
    }
    assert len(others | {base.content}) == 6


def test_the_content_hash_is_pinned() -> None:
    # Hashes lie in topics: another value for the same claim would publish everything again.
    assert contribution_content({"b": 1.0, "a": "ö"}, 5, False) == (
        "368c4b05c67a1884aca71bee31f9e29da0487965953f916246271e2cf84cac38"
    )


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"[]", b"{}", b'{"position":[1,2]}', b"\xff", contribution().to_json()[:-1]],
)
def test_a_value_that_is_no_contribution_is_a_dead_record(value: bytes) -> None:
    with pytest.raises(DeadRecord) as dead:
        Contribution.from_json(value)
    assert dead.value.code == "bad-contribution"
