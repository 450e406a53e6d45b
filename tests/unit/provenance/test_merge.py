"""Survivorship: a total order over claims, independent of arrival, and which claim wins by which rule."""

import random
from typing import Annotated, Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.entities import Entity, Identity, Money, most_recent, prefer
from sluice.position import Position
from sluice.provenance import Contribution, Incomplete, Merged, Survivorship, candidates, merge
from support.claims import ORDER, contribution, contributions
from support.reference_merge import reference_merge
from support.workers import Worker

CONTRACT = Worker.contract()
PAY = {"amount": "1.0000", "currency": "EUR"}
MORE_PAY = {"amount": "2.0000", "currency": "EUR"}


def _worker(**fields: Any) -> dict[str, Any]:
    return {"employee_number": "W", "full_name": "Zoë", **fields}


def _merged(*claims: Contribution) -> Merged:
    result = merge(CONTRACT, claims, ORDER)
    assert isinstance(result, Merged)
    return result


def _winner(merged: Merged, field: str) -> tuple[str, str]:
    (winner,) = [one for one in merged.winners if one.field == field]
    return merged.contributors[winner.contributor].source, winner.rule


@given(contributions(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_content(claims: list[Contribution], order: random.Random) -> None:
    shuffled = list(claims)
    order.shuffle(shuffled)
    assert merge(CONTRACT, shuffled, ORDER) == merge(CONTRACT, claims, ORDER)


@given(contributions(), st.integers(2, 9))
def test_positions_offsets_and_clocks_do_not_choose(claims: list[Contribution], epoch: int) -> None:
    moved = [
        claim.replace(position=Position(epoch, index, 0), observed_at=epoch, raw=replace(claim.raw, offset=-index))
        for index, claim in enumerate(claims)
    ]
    here, there = merge(CONTRACT, claims, ORDER), merge(CONTRACT, moved, ORDER)
    if isinstance(here, Incomplete) or isinstance(there, Incomplete):
        assert here == there
    else:
        assert (here.content, here.fields, here.winners) == (there.content, there.fields, there.winners)


@given(contributions())
def test_a_winner_is_the_first_candidate_and_contributors_are_winners_only(claims: list[Contribution]) -> None:
    result = merge(CONTRACT, claims, ORDER)
    if isinstance(result, Incomplete):
        return
    for winner in result.winners:
        claim = result.contributors[winner.contributor]
        assert claim == candidates(CONTRACT, winner.field, claims, ORDER)[0]
        assert result.fields[winner.field] == claim.fields[winner.field]
        assert not claim.retracted
    assert {winner.contributor for winner in result.winners} == set(range(len(result.contributors)))
    assert list(result.fields) == list(CONTRACT.fields)


@given(contributions())
def test_a_retracted_claim_counts_as_none(claims: list[Contribution]) -> None:
    live = [claim for claim in claims if not claim.retracted]
    assert merge(CONTRACT, claims, ORDER) == merge(CONTRACT, live, ORDER)


class Ruled(Entity):
    """At least one field for each kind of rule."""

    number: Annotated[str, Identity()]
    plain: int | None
    amount: Money | None
    listed: Annotated[str | None, prefer("hr", "erp")]
    listed_value: Annotated[str | None, prefer("erp", "hr", skip_null=True)]
    newest: Annotated[float | None, most_recent()]
    newest_value: Annotated[str | None, most_recent(skip_null=True)]
    second_newest: Annotated[str | None, most_recent()]


# Not only values of the right type: a foreign writer claims anything that JSON contains.
_ANY = st.sampled_from([None, "a", "é", True, 1, 2**53, 2**63 - 1, 1.0, 1e21, [1, None], {"é": 1.5}, {"amount": "1.0"}])
_CLAIM = st.tuples(
    st.sampled_from(["hr", "erp", "badge", "café"]),
    st.sampled_from(["k1", 'k"2']),
    st.dictionaries(st.sampled_from([*Ruled.contract().fields, "foreign"]), st.none() | _ANY),
    st.none() | st.integers(0, 2),
    st.integers(0, 5),
    st.booleans(),
)


@given(st.lists(_CLAIM, max_size=6, unique_by=lambda drawn: drawn[:2]))
def test_the_merge_is_what_the_rules_say_field_by_field(drawn: list[tuple[Any, ...]]) -> None:
    claims = [
        contribution(source, key, {"number": "W", **fields} if number else fields, effective_at=time, retracted=gone)
        for source, key, fields, time, number, gone in drawn
    ]
    for order in (("hr", "erp"), ("erp",), ()):
        assert merge(Ruled.contract(), claims, order) == reference_merge(Ruled.contract(), claims, order)


@given(
    st.lists(_CLAIM, min_size=1, max_size=5, unique_by=lambda drawn: drawn[:2]),
    st.sampled_from([("hr", "erp"), ("erp",)]),
    _CLAIM,
)
def test_a_claim_that_wins_nothing_can_have_any_values(
    drawn: list[tuple[Any, ...]], order: tuple[str, ...], other: tuple[Any, ...]
) -> None:
    claims = [contribution(source, key, fields) for source, key, fields, *_ in drawn]
    given = [(claim.source, *claim.fields) for claim in claims]
    if Survivorship(Ruled.contract(), order).wins_nothing(given[0], tuple(given[1:])):
        changed = claims[0].replace(fields={name: other[2].get(name) for name in claims[0].fields})
        before, after = (reference_merge(Ruled.contract(), [one, *claims[1:]], order) for one in (claims[0], changed))
        assert before == after


def test_a_claim_wins_a_field_that_no_claim_of_a_higher_rank_has() -> None:
    rules = Survivorship(Ruled.contract(), ("hr", "erp"))
    assert rules.wins_nothing(("erp", "plain", "foreign"), (("hr", "plain"),))
    assert not rules.wins_nothing(("erp", "plain", "amount"), (("hr", "plain"),))
    assert not rules.wins_nothing(("erp", "plain", "newest"), (("hr", "plain", "newest"),))


def test_by_default_sources_rank_as_the_pipeline_declares_them() -> None:
    late = contribution("erp", fields=_worker(full_name="Zoe"), position=Position(9, 9, 9))
    merged = _merged(late, contribution("workday", fields=_worker()))
    assert merged.fields["full_name"] == "Zoë"
    assert _winner(merged, "full_name") == ("workday", "source_order")


def test_a_source_that_the_pipeline_does_not_declare_ranks_last() -> None:
    assert (
        _merged(contribution("badge", fields=_worker(full_name="B")), contribution("erp")).fields["full_name"] == "Zoë"
    )


def test_prefer_takes_the_first_listed_source_that_claims() -> None:
    erp = contribution("erp", fields=_worker(base_pay=MORE_PAY))
    assert _winner(_merged(erp, contribution(fields=_worker(base_pay=PAY))), "base_pay") == (
        "workday",
        "prefer(workday,erp)",
    )
    assert _merged(erp, contribution(fields=_worker())).fields["base_pay"] == MORE_PAY


def test_null_claims_none_and_a_missing_field_claims_nothing() -> None:
    erp = contribution("erp", fields=_worker(base_pay=PAY))
    silent = _merged(erp, contribution(fields=_worker()))
    denying = _merged(erp, contribution(fields=_worker(base_pay=None)))
    assert silent.fields["base_pay"] == PAY
    assert denying.fields["base_pay"] is None
    assert _winner(denying, "base_pay") == ("workday", "prefer(workday,erp)")
    assert silent.content != denying.content


class Nulls(Entity):
    number: Annotated[str, Identity()]
    listed: Annotated[str | None, prefer("hr", "finance", skip_null=True)]
    newest: Annotated[str | None, most_recent(skip_null=True)]
    strict: Annotated[str | None, prefer("hr", "finance")]


def test_with_skip_null_a_null_gives_way_to_any_value_and_wins_alone() -> None:
    def won(*claims: Contribution) -> dict[str, tuple[Any, str | None, str | None]]:
        result = merge(Nulls.contract(), claims, ("hr", "finance"))
        assert isinstance(result, Merged)
        by_field = {one.field: one for one in result.winners}
        return {
            name: (value, result.contributors[by_field[name].contributor].source, by_field[name].rule)
            for name, value in result.fields.items()
            if name in by_field
        }

    nulls = {"number": "W", "listed": None, "newest": None, "strict": None}
    values = {"number": "W", "listed": "x", "newest": "y", "strict": "z"}
    hr = contribution(source="hr", fields=nulls, effective_at=20)
    finance = contribution(source="finance", fields=values, effective_at=10)
    both = won(hr, finance)
    assert both["listed"] == ("x", "finance", "prefer(hr,finance; skip_null)")
    assert both["newest"] == ("y", "finance", "most_recent(skip_null)")
    assert both["strict"] == (None, "hr", "prefer(hr,finance)"), "without it a null is a claim like any other"
    assert won(hr)["listed"] == (None, "hr", "prefer(hr,finance; skip_null)")


def test_most_recent_compares_the_effective_times_of_the_sources() -> None:
    older = contribution("workday", fields=_worker(status="active"), effective_at=1, position=Position(9, 9, 9))
    newer = contribution("erp", fields=_worker(status="left"), effective_at=2)
    undated = contribution("badge", fields=_worker(status="active"), effective_at=None)
    merged = _merged(older, newer, undated)
    assert merged.fields["status"] == "left"
    assert _winner(merged, "status") == ("erp", "most_recent")
    assert [claim.source for claim in candidates(CONTRACT, "status", [undated, older, newer], ORDER)] == [
        "erp",
        "workday",
        "badge",
    ]


def test_equally_recent_claims_are_ranked_by_source_then_by_name() -> None:
    erp = contribution("erp", fields=_worker(status="left"), effective_at=1)
    workday = contribution("workday", fields=_worker(status="active"), effective_at=1)
    assert _merged(erp, workday).fields["status"] == "active"
    first = contribution("erp", "a", fields=_worker(status="left"), effective_at=1)
    second = contribution("erp", "b", fields=_worker(status="active"), effective_at=1)
    assert _merged(second, first).fields["status"] == "left"


def test_an_entity_without_a_required_field_is_withheld_and_says_what_is_missing() -> None:
    part = contribution("erp", fields={"employee_number": "W", "base_pay": PAY})
    assert merge(CONTRACT, [part], ORDER) == Incomplete(("full_name",))
    assert isinstance(merge(CONTRACT, [part, contribution()], ORDER), Merged)


def test_an_entity_without_claims_is_absent() -> None:
    assert merge(CONTRACT, [], ORDER) == Incomplete(("employee_number", "full_name"))
    assert merge(CONTRACT, [contribution(retracted=True)], ORDER) == Incomplete(("employee_number", "full_name"))


def test_another_origin_of_the_same_value_is_another_content_and_another_version_is_not() -> None:
    base = _merged(contribution("workday"))
    assert _merged(contribution("erp")).content != base.content
    assert _merged(contribution("workday", source_key="other")).content != base.content
    assert _merged(contribution("workday").replace(mapping_version=9)).content == base.content


def test_the_canonical_record_has_the_same_content_as_the_merge() -> None:
    merged = _merged(contribution("workday"), contribution("erp", fields=_worker(base_pay=PAY)))
    assert merged.record(3, 99).content == merged.content
    assert merged.content.startswith("v1:")
