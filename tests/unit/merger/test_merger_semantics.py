"""Canonical is merge(contributions), always: through crashes, lost disks, rewinds, changed rules and stale writers."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any
from unittest.mock import patch

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.entities import Entity, EntityContract, Identity, Scale
from sluice.stage.batch import OUTPUT_BYTES_MAX
from sluice.state.expiry import DELETED_KEYS_KEPT_S
from sluice_merger import claims as entity_claims
from support.merging_bench import IN, OUT, MergerBench, Person, PersonByErp


class Typed(Entity, name="person"):
    number: Annotated[str, Identity()]
    name: str | None
    hired: date | None
    rate: Annotated[Decimal | None, Scale(10, 2)]


def bench(contract: EntityContract | None = None) -> MergerBench:
    return MergerBench(contract or Person.contract())


def test_a_record_is_merged_from_all_that_claim_it() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "erp", "1:1:1", name="A. L.", pay="10")
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Ada', 'pay': '10'}"


def test_equal_content_at_a_higher_position_is_not_written_again() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:2:1", name="Ada")
    merger.run()
    assert len(merger.canonical) == 1
    assert merger.outcomes == ["mapped", "unchanged"]


def test_an_entity_without_a_required_field_is_published_only_when_the_field_is_claimed() -> None:
    merger = bench()
    merger.claim("E1", "erp", "1:1:1", pay="10")
    merger.run()
    assert merger.golden() == {}
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    assert merger.golden()["E1"] is not None


def test_the_last_retraction_leaves_a_tombstone_whose_revision_goes_on() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:2:1", retracted=True)
    merger.claim("E1", "hr", "1:3:1", name="Ada again")
    merger.run()
    assert [m.value() is None for m in merger.canonical] == [False, True, False]
    assert [dict(m.headers())["sluice-revision"] for m in merger.canonical] == [b"1", b"2", b"3"]


def test_an_older_claim_above_the_stored_one_is_covered_by_writing_the_stored_one_back() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:5:1", name="new")
    merger.claim("E1", "hr", "1:3:1", name="old")
    merger.run()
    last = merger.logs.messages(IN)[-1].value() or b""
    assert b'"name":"new"' in last
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'new'}"
    assert len(merger.logs.messages(IN)) == 3


def test_an_older_claim_met_while_restoring_is_covered_too() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:5:1", name="new")
    merger.run()
    merger.claim("E1", "hr", "1:3:1", name="old")
    merger.crash()
    merger.run()
    assert b'"name":"new"' in (merger.logs.messages(IN)[-1].value() or b"")
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'new'}"


def test_an_older_claim_met_again_in_a_rewind_writes_nothing() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:3:1", name="old")
    merger.claim("E1", "hr", "1:5:1", name="new")
    merger.run()
    written = len(merger.logs.messages(IN)), len(merger.canonical)
    merger.rewind(0)
    merger.run()
    assert (len(merger.logs.messages(IN)), len(merger.canonical)) == written


def test_a_crash_between_taking_and_committing_emits_once() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.drain()
    merger.take()
    merger.crash()
    merger.run()
    assert len(merger.canonical) == 1


def test_state_is_not_ahead_of_the_commit() -> None:
    """A batch given up leaves nothing behind: the same claim, offered again, is still news."""
    merger = bench()
    merger.drain()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.take()
    merger.merger.complete(merger.batch)
    merger.drop()
    merger.run()
    assert merger.outcomes == ["mapped"]
    assert merger.golden()["E1"] is not None


def test_a_canonical_record_overwritten_by_a_stale_writer_is_corrected_on_assignment() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.logs.append(OUT, 0, b"E1", b"stale", [("sluice-content", b"v1:other"), ("sluice-revision", b"9")])
    merger.crash()
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Ada'}"
    assert dict(merger.canonical[-1].headers())["sluice-revision"] == b"10"


def test_changed_rules_merge_everything_again_and_write_only_what_differs() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "erp", "1:1:1", name="A. L.")
    merger.claim("E2", "hr", "1:1:1", name="Bob")
    merger.run()
    before = len(merger.canonical)
    merger.use(PersonByErp.contract())
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'A. L.'}"
    rewritten = [(m.key() or b"").decode() for m in merger.canonical[before:]]
    # E2's rule has another name now, and the rule is part of a record's content: it is written again, once.
    assert sorted(rewritten) == ["E1", "E2"]


def test_a_crash_in_the_middle_of_a_merge_of_everything_starts_it_again() -> None:
    merger = bench()
    for number in range(3):
        merger.claim(f"E{number}", "hr", "1:1:1", name="Ada")
        merger.claim(f"E{number}", "erp", "1:1:1", name="A. L.")
    merger.run()
    merger.use(PersonByErp.contract())
    merger.merger.work(merger.batch)
    merger.crash(lose=True)
    merger.run()
    assert {value for value in merger.golden().values() if value and "A. L." in value}
    assert len(merger.golden()) == 3


def test_an_entity_that_only_canonical_contains_is_deleted_when_everything_is_merged_again() -> None:
    merger = bench()
    merger.logs.append(OUT, 0, b"ghost", b"x", [("sluice-content", b"v1:x"), ("sluice-revision", b"4")])
    merger.crash()
    merger.run()
    assert merger.golden() == {"ghost": None}


def test_a_record_that_is_no_contribution_is_parked_and_stops_nothing() -> None:
    merger = bench()
    merger.claim("E0", "hr", "1:1:1", name="Zoe")
    merger.run()
    merger.logs.append(IN, 0, b"junk", b"junk", [])
    merger.logs.append(IN, 0, b'["E9"]', b"{}", [])
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.crash(lose=True)
    merger.run()
    assert merger.outcomes == ["mapped", "dead", "dead", "unchanged"]
    assert set(merger.golden()) == {"E0", "E1"}


_CLAIM = st.tuples(st.sampled_from(["E1", "E2"]), st.sampled_from(["hr", "erp"]), st.integers(1, 7))
_EVENT = st.sampled_from(["crash", "lose", "rewind", "drop", "none"])


@settings(max_examples=200, deadline=None)
@given(claims=st.lists(st.tuples(_CLAIM, _EVENT), min_size=1, max_size=14), row_claims_max=st.sampled_from([0, 1, 16]))
def test_every_order_crash_and_rewind_ends_in_the_same_canonical(
    claims: list[tuple[tuple[str, str, int], str]], row_claims_max: int
) -> None:
    with patch.object(entity_claims, "ROW_CLAIMS_MAX", row_claims_max):
        _end_in_the_same_canonical(claims)


def _end_in_the_same_canonical(claims: list[tuple[tuple[str, str, int], str]]) -> None:
    merger = bench()
    for (entity_id, source, major), event in claims:
        # One position has one content: every third is a retraction, the fifth states no name, two state the same name.
        retracted, fields = major % 3 == 0, {} if major == 5 else {"name": f"{source}{major % 4}"}
        merger.claim(entity_id, source, f"1:{major}:1", retracted=retracted, **({} if retracted else fields))
        _play(merger, event)
    merger.run()
    golden = merger.golden()
    fresh = bench()
    for message in merger.logs.messages(IN):
        fresh.logs.append(IN, 0, message.key(), message.value(), [])
    fresh.crash()
    fresh.run()
    assert {k: v for k, v in golden.items() if v} == {k: v for k, v in fresh.golden().items() if v}
    revisions = [int(dict(m.headers())["sluice-revision"]) for m in merger.canonical if m.key() == b"E1"]
    assert revisions == sorted(set(revisions))


def _play(merger: MergerBench, event: str) -> None:
    if event == "rewind":
        merger.rewind(0)
    elif event in ("crash", "lose"):
        merger.crash(lose=event == "lose")
    elif event == "drop":
        merger.drain()
        merger.take()
        merger.drop()
    merger.run()


def test_a_golden_record_too_large_for_its_topic_is_parked_and_the_one_before_it_stays() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "erp", "1:1:1", pay="x" * 4_500_000)
    merger.run()
    before = merger.golden()["E1"]
    merger.claim("E1", "hr", "1:2:1", name="y" * 4_500_000)
    merger.claim("E2", "hr", "1:1:1", name="Grace")
    merger.run()
    assert merger.outcomes == ["mapped", "mapped", "dead", "mapped"]
    assert merger.golden()["E1"] == before
    (letter,) = merger.logs.messages("dlq.merger")
    assert dict(letter.headers() or ())["sluice-kind"] == b"output-too-large"
    merger.claim("E1", "erp", "1:2:1", pay="10")
    merger.run()
    assert "'pay': '10'" in str(merger.golden()["E1"])
    assert len(merger.logs.messages("dlq.merger")) == 1


def test_a_golden_record_too_large_under_new_rules_is_parked_with_the_claim_that_came_last() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada", pay="x" * 4_500_000)
    merger.claim("E1", "erp", "1:1:1", name="y" * 4_500_000)
    merger.run()
    merger.use(PersonByErp.contract(), ("erp", "hr"))
    merger.run()
    letters = merger.logs.messages("dlq.merger")
    assert {dict(letter.headers() or ())["__connect.errors.offset"] for letter in letters} == {b"1"}
    assert "'name': 'Ada'" in str(merger.golden()["E1"])


def test_a_retraction_that_nothing_can_contradict_any_more_is_dropped_and_stays_a_deletion() -> None:
    merger = bench()
    merger.logs.now_ms -= int(DELETED_KEYS_KEPT_S * 1_000) + 1_000
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:2:1", retracted=True)
    merger.claim("E2", "hr", "1:1:1", name="Bob")
    merger.run()
    merger.logs.now_ms += int(DELETED_KEYS_KEPT_S * 1_000)
    young = merger.claim("E3", "hr", "1:2:1", retracted=True)
    merger.run()
    said = len(merger.canonical)
    merger.crash()
    merger.housekeep()
    newest = {m.key(): m.value() for m in merger.logs.messages(IN)}
    assert [key for key, value in newest.items() if value is None] == [merger.key("E1", "hr")]
    assert newest[young.key] is not None
    merger.run()
    merger.crash(lose=True)
    merger.run()
    assert len(merger.canonical) == said
    assert merger.golden() == {"E1": None, "E2": "{'number': 'E2', 'name': 'Bob'}"}


@pytest.mark.parametrize("lose", [False, True])
def test_a_claim_made_just_before_its_old_retraction_was_dropped_is_written_again(lose: bool) -> None:
    merger = bench()
    merger.logs.now_ms -= int(DELETED_KEYS_KEPT_S * 1_000) + 1_000
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:2:1", retracted=True)
    merger.run()
    merger.logs.now_ms += int(DELETED_KEYS_KEPT_S * 1_000)
    merger.crash()
    merger.claim("E1", "hr", "1:3:1", name="Ada again")  # not read yet when the null is written above it
    merger.housekeep()
    assert merger.logs.messages(IN)[-1].value() is None
    merger.crash(lose=lose)
    merger.run()
    merger.crash(lose=True)
    merger.run()
    assert b"Ada again" in (merger.logs.messages(IN)[-1].value() or b"")
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Ada again'}"


def test_a_contribution_that_could_not_be_written_back_is_parked() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:5:1", name="A" * OUTPUT_BYTES_MAX)
    merger.claim("E1", "hr", "1:3:1", name="old")
    merger.run()
    assert merger.outcomes == ["dead", "mapped"]
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'old'}"


@pytest.mark.parametrize("key", [b"E1", b"\xff\xfe", b"foreign"])
def test_a_foreign_record_in_canonical_is_corrected_and_stops_nothing(key: bytes) -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    headers = [("sluice-content", b"\xff"), ("sluice-revision", b"many")]
    merger.logs.append(OUT, 0, key, b"foreign", headers)
    merger.crash()
    merger.run()
    newest = {m.key(): m.value() for m in merger.canonical}
    assert newest[b"E1"] == b"{'number': 'E1', 'name': 'Ada'}"
    assert newest.get(b"foreign") is None


def test_a_foreign_null_drops_the_claim_whatever_its_headers_say() -> None:
    merger = bench()
    claim = merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.logs.append(IN, 0, claim.key, None, [("sluice-over", b"never")])
    merger.run()
    assert merger.golden()["E1"] is None


POISON: list[dict[str, Any]] = [
    {"position": ["a", "b", "c"]},
    {"position": [1, 2**70, 3]},
    {"mapping_version": "3"},
    {"observed_at": None},
    {"observed_at": 10**25},
    {"effective_at": "soon"},
    {"raw": {"topic": 5, "partition": 0, "offset": 0}},
    {"fields": {"number": "E1", "name": ["a", "list"]}},
    {"fields": {"number": "E1", "name": "Ada", "hired": "no date"}},
    {"fields": {"number": "E1", "name": "Ada", "rate": "1,5"}},
    {"fields": []},
    {"retracted": 1},
    {"more": 1},
]


@pytest.mark.parametrize("wrong", POISON, ids=str)
@pytest.mark.parametrize("lose", [False, True])
def test_a_contribution_of_wrong_types_is_parked_and_stops_no_restore(wrong: dict[str, Any], lose: bool) -> None:
    merger = bench(Typed.contract())
    good = merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E2", "hr", "1:1:1", name="Bob")
    merger.run()
    poison = {**orjson.loads(good.to_json()), "position": [1, 2, 1], **wrong}
    merger.logs.append(IN, 0, good.key, msgspec.json.encode(poison), [])
    merger.run()
    assert "dead" in merger.outcomes
    merger.claim("E2", "hr", "1:3:1", name="Bert")
    merger.crash(lose=lose)
    merger.run()
    merger.claim("E1", "hr", "1:4:1", name="Ada again")
    merger.run()
    golden = merger.golden()
    assert "'Bert'" in str(golden["E2"])
    assert "'Ada again'" in str(golden["E1"])


def test_entities_merged_in_a_batch_that_was_given_up_are_merged_again() -> None:
    merger = bench()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.crash()
    merger.work()  # all that restoring found, in one batch; and it is given up
    merger.drop()
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'Ada'}"
    merger.use(PersonByErp.contract())
    merger.work()
    merger.drop()
    assert merger.owned.record.fingerprints != {}
    before = dict(merger.owned.record.fingerprints)
    merger.drain()
    assert merger.owned.record.fingerprints != before


def test_an_entity_whose_claims_a_foreign_null_dropped_goes_on_at_its_last_revision() -> None:
    merger = bench()
    claim = merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.logs.append(IN, 0, claim.key, None, [])
    merger.claim("E1", "hr", "1:2:1", name="Ada again")
    merger.drain()
    while merger.next_offset < 3:
        merger.take()
        merger.commit()
    assert [dict(m.headers())["sluice-revision"] for m in merger.canonical] == [b"1", b"2", b"3"]


def test_a_foreign_null_below_a_claim_drops_nothing() -> None:
    merger = bench()
    claim = merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.logs.append(IN, 0, claim.key, None, [])
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.crash(lose=True)  # restored to the end before the null is consumed
    merger.run()
    assert [m.value() for m in merger.canonical] == [b"{'number': 'E1', 'name': 'Ada'}"]


@pytest.mark.parametrize("name", ["[" * 280 + "]" * 280, str(10**30)], ids=["deep", "long"])
def test_fields_that_cannot_be_written_again_park_their_contribution(name: str) -> None:
    merger = bench()
    good = merger.claim("E1", "hr", "1:1:1", name="NAME")
    merger.run()
    merger.logs.append(
        IN, 0, good.key, good.to_json().replace(b'"NAME"', name.encode()).replace(b"[1,1,1]", b"[1,2,1]"), []
    )
    merger.run()
    assert merger.outcomes == ["mapped", "dead"]
    merger.crash(lose=True)
    merger.run()
    assert merger.golden()["E1"] == "{'number': 'E1', 'name': 'NAME'}"
