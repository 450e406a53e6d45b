"""The claims about an entity are the same whether they are one row or one row each."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import Contribution, Survivorship
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.process import Owned
from sluice.state import View
from sluice_merger.claims import EntityClaims, StoredClaim, entity_ids
from sluice_merger.partition import MergerPartition, ReadRecord
from sluice_merger.records import CanonicalVersion
from support.claims import contribution, contributions
from support.memory_store import MemoryStore
from support.workers import Worker

CLAIMS = [contribution(source, key) for source in ("hr", "erp") for key in ("a", "b")]
KEYS = [claim.key for claim in CLAIMS]
_CHANGE = st.tuples(st.sampled_from(range(4)), st.none() | st.integers(1, 99))


def load(view: View) -> EntityClaims:
    (claims,) = EntityClaims.load(view, ["W"])
    return claims


@given(st.lists(st.lists(_CHANGE, max_size=4), max_size=6), st.sampled_from([0, 1, 2, 16]))
def test_claims_are_found_as_they_were_put(batches: list[list[tuple[int, int | None]]], row_claims_max: int) -> None:
    view = View(MemoryStore(), "contributions", 0, "id", "rows")
    expected: dict[bytes, int] = {}
    with patch("sluice_merger.claims.ROW_CLAIMS_MAX", row_claims_max):
        for changes in batches:
            claims = load(view)
            for number, offset in changes:
                if offset is None:
                    claims.drop(KEYS[number])
                    expected.pop(KEYS[number], None)
                else:
                    claims.put(StoredClaim.of(KEYS[number], offset, CLAIMS[number]))
                    expected[KEYS[number]] = offset
            claims.save()
            view.advance()
            for state in (claims, load(view)):
                found = {key: state.get(key) for key in KEYS}
                assert {key: one.offset for key, one in found.items() if one} == expected
                assert {claim.key for claim in state.contributions()} == expected.keys()
                if expected:
                    assert state.newest().offset == max(expected.values())


def test_whether_and_into_what_an_entity_is_merged_is_kept() -> None:
    view = View(MemoryStore(), "contributions", 0, "id", "rows")
    claims = load(view)
    claims.put(StoredClaim.of(KEYS[0], 1, CLAIMS[0]))
    claims.mark_unmerged()
    claims.save()
    assert load(view).unmerged
    claims = load(view)
    claims.mark_merged(CanonicalVersion("v1", 3))
    claims.save()
    assert not load(view).unmerged
    assert load(view).version == CanonicalVersion("v1", 3)


def test_all_entities_are_listed_in_order() -> None:
    view = View(MemoryStore(), "contributions", 0, "id", "rows")
    for entity_id in ("b", "", "é", "a"):
        (claims,) = EntityClaims.load(view, [entity_id])
        claims.put(StoredClaim.of(KEYS[0], 1, CLAIMS[0]))
        claims.save()
    assert list(entity_ids(view, b"")) == ["", "a", "b", "é"]
    assert list(entity_ids(view, b"ea")) == ["b", "é"]


@given(contributions(), st.sampled_from([None, "a", True, 1.0, 1e21, -(2**63), 2**64 - 1, [1, {"é": [None]}]]))
def test_a_stored_claim_is_written_back_as_it_was_read(claims: list[Contribution], value: Any) -> None:
    for claim in claims:
        claim = claim.replace(fields={**claim.fields, "value": value}).sealed()
        assert StoredClaim.of(claim.key, 5, Contribution.from_json(claim.to_json())).to_json() == claim.to_json()


def test_a_higher_claim_below_the_stored_one_keeps_the_offset_of_the_stored_one() -> None:
    """The offset says below which records an older claim need not be covered."""
    view = View(MemoryStore(), "contributions", 0, "id", "rows")
    owned = Owned(("contributions", 0), "id", 0, PartitionRecord("id", 0))
    rules = Survivorship(Worker.contract(), ("hr",))
    partition = MergerPartition(owned, rules, view, View(MemoryStore(), "canonical", 0, "id"))
    claims = load(view)
    for major, offset in ((3, 10), (5, 2)):
        claim = contribution(position=Position(1, major, 1))
        record = Record("contributions", 0, offset, claim.key, claim.to_json(), {}, 0)
        assert partition.take(claims, ReadRecord(record, claim)) is None
    stored = claims.get(claim.key)
    assert stored is not None
    assert (stored.offset, stored.position) == (10, Position(1, 5, 1))
