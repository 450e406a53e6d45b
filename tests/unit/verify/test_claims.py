"""Whether a claim is what its raw record says: each verdict once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.verify.claims import MapperFacts, judge, missing, not_parked
from sluice.verify.entity_logs import ContributionLog, log_findings
from sluice.verify.expected import ExpectedClaim, as_read, said

RAW = RawRef("raw.crm.people", 0, 10)
FIELDS = {"number": "P1", "name": "Ada"}
FACTS = MapperFacts({("crm", "people", "person"): 2}, {}, set(), {("raw.crm.people", 0): 100})
EXPECTED = ExpectedClaim(said(FIELDS, None), Position(1, 7, 5), 2, RAW, 99)


def claim(**other: Any) -> Contribution:
    made = Contribution(
        entity_id="P1",
        source="crm",
        stream="people",
        source_key='{"id":"P1"}',
        mapping="person",
        mapping_version=2,
        output="main",
        position=Position(1, 7, 5),
        raw=RAW,
        observed_at=99,
        effective_at=None,
        contract=1,
        fields=FIELDS,
        retracted=False,
    )
    return made.replace(**other).sealed()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_compared_as_a_contribution_returns_it(number: float) -> None:
    """1.0 is written as 1, and read as an integer."""
    claimed = {"rating": number + 0.0, "ratings": [number + 0.0, 1.0], "name": "Ada"}  # no encoder gives minus zero
    read = Contribution.from_json(claim(fields=claimed).to_json()).fields
    assert said(as_read(claimed), None) == said(read, None)


NO_MAPPING = FACTS._replace(versions={})
PARKED = FACTS._replace(parked={("raw.crm.people", '{"id":"P1"}', ""): Position(1, 7, 9)})
DEAD = FACTS._replace(dead={RAW})


@pytest.mark.parametrize(
    ("highest", "expected", "facts", "kind"),
    [
        (claim(), EXPECTED, FACTS, "ok"),
        (claim(fields={**FIELDS, "name": "Eve"}), EXPECTED, FACTS, "finding"),
        (claim(effective_at=1), EXPECTED, FACTS, "finding"),
        (claim(observed_at=98), EXPECTED, FACTS, "finding"),
        (claim(retracted=True, fields={}), EXPECTED, FACTS, "finding"),
        (claim(position=Position(1, 7, 4)), EXPECTED, FACTS, "finding"),
        (claim(position=Position(1, 7, 4)), EXPECTED, DEAD, "parked"),
        (claim(position=Position(1, 7, 6)), EXPECTED, FACTS, "finding"),
        (claim(position=Position(1, 7, 6), raw=msgspec.structs.replace(RAW, offset=100)), EXPECTED, FACTS, "moving"),
        (claim(mapping_version=1), EXPECTED, FACTS, "older-version"),
        (claim(mapping_version=1, position=Position(1, 7, 4)), EXPECTED, FACTS, "finding"),
        (claim(mapping_version=3), EXPECTED, FACTS, "newer-version"),
        (claim(), None, FACTS, "finding"),
        (claim(), None, PARKED, "parked"),
        (claim(), None, NO_MAPPING, "retired"),
        (claim(mapping_version=1), None, FACTS, "older-version"),
        (claim(retracted=True, fields={}), None, FACTS, "ok"),
        (claim(retracted=True, fields={}), None, NO_MAPPING, "ok"),
    ],
)
def test_a_claim_is_judged_by_its_raw_record(
    highest: Contribution, expected: ExpectedClaim | None, facts: MapperFacts, kind: str
) -> None:
    assert judge(highest, expected, facts).kind == kind


@pytest.mark.parametrize(
    ("facts", "version", "kind"),
    [(FACTS, None, "finding"), (FACTS, 2, "finding"), (FACTS, 1, "older-version"), (DEAD, 2, "parked")],
)
def test_a_missing_claim_is_a_finding_unless_it_was_parked_or_never_read_with_this_version(
    facts: MapperFacts, version: int | None, kind: str
) -> None:
    assert missing(EXPECTED, facts, version).kind == kind


@pytest.mark.parametrize(
    ("mapping_version", "processed", "kind"),
    [(2, 1, "older-version"), (2, 2, "finding"), (2, None, "finding"), (None, None, "finding")],
)
def test_a_record_that_only_a_newer_mapping_cannot_map_needs_no_dead_letter_before_it_is_read_again(
    mapping_version: int | None, processed: int | None, kind: str
) -> None:
    assert not_parked(mapping_version, processed).kind == kind


def record(offset: int, key: bytes, value: bytes | None) -> Record:
    return Record("contributions", 0, offset, key, value, {}, 0)


def log(*claims: Contribution) -> list[str]:
    read = ContributionLog()
    for offset, one in enumerate(claims):
        read.add(record(offset, one.key, one.to_json()))
    (highest,) = read.highest.values()
    return [check for check, _ in log_findings(highest)]


OLD, NEW = claim(position=Position(1, 7, 4)), claim()


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ([OLD, NEW], []),
        ([NEW, OLD], ["I4"]),
        ([NEW, OLD, NEW], []),
        ([NEW, NEW], ["I2"]),
        ([OLD, OLD, NEW], ["I2"]),
        ([NEW, claim(retracted=True, fields={})], []),
    ],
)
def test_the_last_record_of_a_key_is_the_highest_and_repeats_only_over_an_older_one(
    claims: list[Contribution], found: list[str]
) -> None:
    assert log(*claims) == found


def test_a_record_that_is_no_contribution_is_noted_and_makes_no_claim() -> None:
    read = ContributionLog()
    read.add(record(0, b"k", b"no json"))
    read.add(record(1, b"another key", NEW.to_json()))
    assert read.unreadable == [0, 1]
    assert not read.highest


def test_a_tombstone_removes_a_claim() -> None:
    read = ContributionLog()
    read.add(record(0, NEW.key, NEW.to_json()))
    read.add(record(1, NEW.key, None))
    assert not read.highest
