"""A merge is skipped only where its result would be the canonical record that exists."""

from __future__ import annotations

from typing import Annotated, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.entities import Entity, EntityContract, Identity, most_recent, prefer
from sluice.position import Position
from sluice.provenance import Contribution, Merged, Survivorship
from sluice_merger.claims import LAYOUT
from support.merging_bench import IN, SOURCES, MergerBench
from support.reference_merge import reference_merge


class Person(Entity):
    number: Annotated[str, Identity()]
    name: Annotated[str, prefer("hr", "erp")]
    pay: str | None
    status: Annotated[str | None, most_recent()]


class Ranked(Entity, name="person"):
    """Only ranks choose."""

    number: Annotated[str, Identity()]
    name: Annotated[str, prefer("hr", "erp")]
    pay: str | None
    status: Annotated[str | None, prefer("erp", "hr")]


CONTRACT = Person.contract()


def content_of(claims: list[Contribution], contract: EntityContract = CONTRACT) -> str | None:
    merged = reference_merge(contract, claims, SOURCES)
    return merged.content if isinstance(merged, Merged) else None


def newest_content(merger: MergerBench) -> str | None:
    if not merger.canonical or merger.canonical[-1].value() is None:
        return None
    return dict(merger.canonical[-1].headers())["sluice-content"].decode()


# Few fields, so that claims repeat each other often.
_FIELDS = st.sampled_from(
    [
        {"name": "a", "status": "a"},
        {"name": "a", "status": "b"},
        {"name": "a"},
        {"name": "b"},
        {"name": None},
    ]
)
_CLAIM = st.tuples(st.sampled_from(SOURCES), _FIELDS, st.sampled_from([None, 1, 2]), st.integers(0, 9))


@settings(max_examples=200, deadline=None)
@given(
    drawn=st.lists(_CLAIM, min_size=1, max_size=10),
    batch=st.integers(1, 3),
    row_claims_max=st.sampled_from([0, 16]),
    contract=st.sampled_from([CONTRACT, Ranked.contract()]),
)
def test_after_each_batch_canonical_is_the_merge_of_all_claims(
    drawn: list[tuple[str, dict[str, Any], int | None, int]], batch: int, row_claims_max: int, contract: EntityContract
) -> None:
    merger = MergerBench(contract)
    merger.drain()
    current: dict[str, Contribution] = {}
    written: list[str | None] = [None]
    with patch("sluice_merger.claims.ROW_CLAIMS_MAX", row_claims_max):
        for number, (source, fields, effective_at, retracted) in enumerate(drawn, 1):
            claimed = {} if retracted == 0 else {**fields, "effective_at": effective_at}
            current[source] = merger.claim("E1", source, f"1:{number}:1", retracted=retracted == 0, **claimed)
            merger.take()
            if number % batch == 0 or number == len(drawn):
                merger.commit()
                content = content_of(list(current.values()), contract)
                assert newest_content(merger) == content
                if content != written[-1]:
                    written.append(content)
    assert len(merger.canonical) == len(written) - 1, "no content is emitted twice"
    assert len(merger.outcomes) == len(drawn)


def test_a_claim_that_repeats_the_one_before_it_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    monkeypatch.delattr(Survivorship, "merge")
    merger.claim("E1", "hr", "1:2:1", name="Ada")
    merger.run()
    assert merger.outcomes == ["mapped", "unchanged"]


def test_a_claim_that_wins_no_field_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "erp", "1:1:1", name="A. L.")
    merger.run()
    with monkeypatch.context() as patched:
        patched.delattr(Survivorship, "merge")
        merger.claim("E1", "erp", "1:2:1", name="A. Lovelace")
        merger.run()
    merger.claim("E1", "hr", "1:2:1", retracted=True)
    merger.run()
    assert merger.outcomes == ["mapped", "unchanged", "unchanged", "mapped"]
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'A. Lovelace'}"


def test_a_retraction_that_states_fields_wins_none_of_them() -> None:
    """Only a foreign writer writes such a retraction."""
    merger = MergerBench(CONTRACT)
    retraction = merger.claim("E1", "hr", "1:1:1", retracted=True).replace(fields={"number": "E1", "name": "Ada"})
    merger.logs.append(IN, 0, retraction.key, retraction.replace(position=Position(1, 2, 1)).sealed().to_json(), [])
    merger.claim("E1", "erp", "1:1:1", name="A. L.")
    merger.claim("E1", "erp", "1:2:1", name="A. Lovelace")
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'A. Lovelace'}"


@pytest.mark.parametrize("crash", [False, True])
def test_a_claim_that_repeats_a_parked_one_is_merged(crash: bool) -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "erp", "1:1:1", name="Ada", pay="x" * 4_500_000)
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="y" * 4_500_000)
    merger.run()
    if crash:
        merger.crash()
    merger.claim("E1", "hr", "1:3:1", name="y" * 4_500_000)
    merger.run()
    assert merger.outcomes == ["mapped", "dead", "dead"]
    assert len(merger.logs.messages("dlq.merger")) == 2


def test_a_claim_that_repeats_the_one_before_it_at_a_later_effective_time_is_merged() -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "hr", "1:1:1", name="Ada", status="here", effective_at=1)
    merger.claim("E1", "erp", "1:1:1", status="away", effective_at=2)
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="Ada", status="here", effective_at=3)
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Ada', 'status': 'here'}"


def test_a_claim_that_repeats_one_that_was_replaced_at_its_own_position_is_merged() -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:1:1", name="Grace")
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="Grace")
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Grace'}"
    assert merger.outcomes == ["mapped", "unchanged", "mapped"]


def test_records_of_one_batch_have_the_outcome_of_their_common_merge() -> None:
    merger = MergerBench(CONTRACT)
    merger.drain()
    for number, name in enumerate(["Ada", "Ada", "Grace", "Grace"], 1):
        merger.claim("E1", "hr", f"1:{number}:1", name=name)
        merger.take()
    merger.commit()
    assert merger.outcomes == ["mapped"] * 4
    assert len(merger.canonical) == 1


def test_state_of_an_older_version_is_read_again_from_kafka() -> None:
    merger = MergerBench(CONTRACT)
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    keys = [key for key, _ in merger.store.scan(b"") if IN.encode() in key]
    assert keys
    merger.store.write([(key.replace(f"/{LAYOUT}\0".encode(), b"\0"), b"{}") for key in keys])
    merger.crash()
    merger.run()
    assert [key for key, _ in merger.store.scan(b"") if IN.encode() in key] == keys
    assert len(merger.canonical) == 1
