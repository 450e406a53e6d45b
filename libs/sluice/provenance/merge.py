"""Survivorship: merges all contributions to one entity into one canonical record.

The result is a pure function of the contributions and does not depend on their order of arrival. Each field's rule is a
total order over the claims of the field. A rule compares only facts of the sources: rank, effective time and names. It
never compares positions, offsets or clocks, so every replay ends with the same content.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import orjson

from sluice.entities.contract import EntityContract
from sluice.entities.rules import MostRecent, Prefer, Rule
from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner, content_hash
from sluice.provenance.contribution import Contribution

# A pipeline has few combinations of claimed fields, and of winners. A combination costs about 1 kB. A pipeline that
# reaches the limit computes plans again, which costs 20 µs for each.
PLANS_MAX = 1_000
PLANNED_CLAIMS_MAX = 8

SourceAndNames = tuple[str, ...]
"""The source of a claim, and the names of its fields."""


class Merged(NamedTuple):
    """The merged content of an entity all of whose required fields have a value.

    `fields`: all fields, in the order of the contract. `contributors`: only the contributions that won a field.
    """

    fields: dict[str, Any]
    winners: tuple[Winner, ...]
    contributors: list[Contribution]
    content: str

    def record(self, revision: int, updated_at_us: int) -> CanonicalRecord:
        """The canonical record of this content. `updated_at_us`: Unix microseconds."""
        contributors = [Contributor.of(contribution) for contribution in self.contributors]
        return CanonicalRecord(self.fields, revision, updated_at_us, contributors, self.winners)


class Incomplete(NamedTuple):
    """An entity has no canonical record, because no claim gives a value to the required fields in `missing`."""

    missing: tuple[str, ...]


class _Plan(NamedTuple):
    """How a canonical record is put together from claims, once it is known which claim won which field.

    `claimed`: each field that has a winner, with the index of the winning claim. `contributors`: the indices of the
    claims that won a field. `heads`: for each winner, the JSON text with which its array in a record's content starts;
    after the head follow the names of the contributor.
    """

    claimed: tuple[tuple[str, int], ...]
    contributors: tuple[int, ...]
    winners: tuple[Winner, ...]
    heads: tuple[bytes, ...]


class Survivorship:
    """Merges contributions by the rules of `contract`. `source_order`: the sources in the order of the pipeline file.
    Sources that it does not contain rank last, ordered by name.

    A merge of nine fields costs 5 µs for one claim and 8 µs for two. To reach this, everything that does not depend on
    the values is computed once and kept: the winners by the sources and the claimed fields, and the plan by the
    winners.
    """

    def __init__(self, contract: EntityContract, source_order: Sequence[str]) -> None:
        self._order = {source: rank for rank, source in enumerate(source_order)}
        self._rules = contract.rules
        self._unclaimed: dict[str, Any] = dict.fromkeys(contract.rules)
        self._required = contract.required
        # The fields whose winner depends on more than the sources and the claimed fields, each with its index.
        self._rules_by_value = [
            (place, name, rule)
            for place, (name, rule) in enumerate(contract.rules.items())
            if rule.skip_null or isinstance(rule, MostRecent)
        ]
        self._winners_by_claims: dict[tuple[SourceAndNames, ...], tuple[int, ...]] = {}
        # The sources that rank first for a field.
        self.first_sources = {_first_source(rule, source_order) for rule in contract.rules.values()}
        self._outranked: dict[tuple[SourceAndNames, ...], bool] = {}
        self._plans: dict[tuple[int, ...], _Plan] = {}
        self._plans_of_one: dict[tuple[str, ...], _Plan] = {}

    def merge(self, contributions: Iterable[Contribution]) -> Merged | Incomplete:
        """Choose the value of each field among the contributions to one entity. Retracted contributions do not
        count."""
        live = [claim for claim in contributions if not claim.retracted]
        if len(live) == 1:
            return self._merge_one(live[0])
        live.sort(key=_origin)
        plan = _cached(self._plans, self._won(live), self._plan)
        values = [claim.fields for claim in live]
        fields = self._unclaimed.copy()
        for name, index in plan.claimed:
            fields[name] = values[index][name]
        if (missing := self._missing(fields)) is not None:
            return missing
        contributors = [live[index] for index in plan.contributors]
        tails = [_tail(claim) for claim in contributors]
        won = b",".join([head + tails[one.contributor] for head, one in zip(plan.heads, plan.winners, strict=True)])
        return Merged(fields, plan.winners, contributors, content_hash(fields, won))

    def wins_nothing(self, claim: SourceAndNames, others: tuple[SourceAndNames, ...]) -> bool:
        """Whether a claim wins no field of an entity, whatever its values are. False if this is not certain.

        `others`: the other claims about the entity, without the retracted ones.
        """
        return _cached(self._outranked, (claim, *others), self._is_outranked)

    def _is_outranked(self, claims: tuple[SourceAndNames, ...]) -> bool:
        """Whether for each field of the first of `claims`, a claim of a source of a higher rank has the field."""
        (source, *names), *others = claims
        if any(name in names for _, name, _ in self._rules_by_value):
            return False
        for name in names:
            if (rule := self._rules.get(name)) is None:
                continue
            rank = _rank(rule, self._order, source)
            if not any(name in given and _rank(rule, self._order, other) < rank for other, *given in others):
                return False
        return True

    def _merge_one(self, claim: Contribution) -> Merged | Incomplete:
        """The merge of one claim, which wins every field that it claims."""
        fields = {**self._unclaimed, **claim.fields}
        if len(fields) > len(self._unclaimed):
            fields = {name: fields[name] for name in self._unclaimed}  # the contract does not have all of the fields
        if (missing := self._missing(fields)) is not None:
            return missing
        plan = _cached(self._plans_of_one, tuple(claim.fields), self._plan_of_one)
        tail = _tail(claim)
        won = (tail + b",").join(plan.heads) + tail if plan.heads else b""
        return Merged(fields, plan.winners, [claim] if plan.winners else [], content_hash(fields, won))

    def _missing(self, fields: dict[str, Any]) -> Incomplete | None:
        for name in self._required:
            if fields[name] is None:
                return Incomplete(tuple([name for name in self._required if fields[name] is None]))
        return None

    def _won(self, live: list[Contribution]) -> tuple[int, ...]:
        """For each field, the index of the claim that wins it; -1 if no claim gives the field."""
        given = tuple([(claim.source, *claim.fields) for claim in live])
        if len(live) <= PLANNED_CLAIMS_MAX:
            won = _cached(self._winners_by_claims, given, self._won_by_source)
        else:
            won = self._won_by_source(given)
        if not self._rules_by_value:
            return won
        changed = list(won)
        for place, name, rule in self._rules_by_value:
            claiming = [index for index, claim in enumerate(live) if name in claim.fields]
            changed[place] = min(claiming, key=lambda index: _key(name, rule, self._order, live[index]), default=-1)
        return tuple(changed)

    def _won_by_source(self, given: tuple[SourceAndNames, ...]) -> tuple[int, ...]:
        """As `_won`, as far as the sources of the claims decide."""
        won = []
        for name, rule in self._rules.items():
            claiming = [index for index, (_, *names) in enumerate(given) if name in names]
            # `min` returns the first of equal claims, which are in the order of their origins.
            won.append(min(claiming, key=lambda index: _rank(rule, self._order, given[index][0]), default=-1))
        return tuple(won)

    def _plan(self, won: tuple[int, ...]) -> _Plan:
        claimed = tuple((name, index) for name, index in zip(self._rules, won, strict=True) if index >= 0)
        contributors = tuple(dict.fromkeys(index for _, index in claimed))
        winners = tuple(Winner(name, contributors.index(index), self._rules[name].name) for name, index in claimed)
        heads = tuple(orjson.dumps([one.field, one.rule])[:-1] + b"," for one in winners)
        return _Plan(claimed, contributors, winners, heads)

    def _plan_of_one(self, claimed: tuple[str, ...]) -> _Plan:
        return self._plan(tuple(0 if name in claimed else -1 for name in self._rules))


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _cached(cache: dict[_Key, _Value], key: _Key, compute: Callable[[_Key], _Value]) -> _Value:
    found = cache.get(key)
    if found is None:
        if len(cache) >= PLANS_MAX:
            cache.clear()
        found = cache[key] = compute(key)
    return found


def _tail(claim: Contribution) -> bytes:
    """The JSON text with which the array of a winner ends: the names of the contributor."""
    return orjson.dumps([claim.source, claim.stream, claim.source_key, claim.mapping])[1:]


@lru_cache(maxsize=256)
def _survivorship(contract: EntityContract, source_order: tuple[str, ...]) -> Survivorship:
    return Survivorship(contract, source_order)


def merge(
    contract: EntityContract, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> Merged | Incomplete:
    """As `Survivorship.merge`, for callers that merge few entities."""
    return _survivorship(contract, tuple(source_order)).merge(contributions)


def candidates(
    contract: EntityContract, field: str, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> list[Contribution]:
    """The contributions that claim `field`, in the order of the field's rule, the winner first. Retracted contributions
    are left out."""
    rule, order = contract.rules[field], {source: rank for rank, source in enumerate(source_order)}
    live = sorted((claim for claim in contributions if not claim.retracted and field in claim.fields), key=_origin)
    return sorted(live, key=lambda claim: _key(field, rule, order, claim))


_origin = attrgetter("source", "stream", "source_key", "mapping", "output")
"""The names that identify a claim about an entity. Each rule compares them last, so that it never ends in a tie."""


def _key(field: str, rule: Rule, order: Mapping[str, int], claim: Contribution) -> tuple[int, ...]:
    """The sort key of a claim of `field` by its rule: the winner has the lowest."""
    null_last = rule.skip_null and claim.fields[field] is None
    recency = _recency(claim.effective_at) if isinstance(rule, MostRecent) else ()
    return null_last, *recency, *_rank(rule, order, claim.source)


def _first_source(rule: Rule, source_order: Sequence[str]) -> str | None:
    """The source that ranks first by a rule, None if all sources have the same rank."""
    return next(iter([*(rule.sources if isinstance(rule, Prefer) else ()), *source_order]), None)


def _rank(rule: Rule, order: Mapping[str, int], source: str) -> tuple[int, ...]:
    place = order.get(source, len(order))
    if not isinstance(rule, Prefer):
        return (place,)
    return rule.sources.index(source) if source in rule.sources else len(rule.sources), place


def _recency(effective_at: int | None) -> tuple[int, int]:
    """A sort key of claims by effective time: the latest time comes first, a claim without a time comes last."""
    return (1, 0) if effective_at is None else (0, -effective_at)
