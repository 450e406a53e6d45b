"""Survivorship: from all contributions to one entity to one canonical record. Pure, and independent of arrival order.

Each field's rule is a total order over the claims of the field. It compares facts of the sources (rank, effective time,
names), never positions, offsets or clocks, so that every replay ends with the same content.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sluice.entities.contract import EntityContract
from sluice.entities.rules import MostRecent, Prefer, Rule
from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner, canonical_content
from sluice.provenance.contribution import Contribution

_SortKey = Callable[[Contribution], tuple[int, ...]]


class Merged(NamedTuple):
    """A complete entity. `fields`: every field, in contract order. `contributors`: only those that won a field."""

    fields: dict[str, Any]
    winners: list[Winner]
    contributors: list[Contribution]
    content: str

    def record(self, revision: int, updated_at_us: int) -> CanonicalRecord:
        """The canonical record to publish."""
        contributors = [Contributor.of(contribution) for contribution in self.contributors]
        return CanonicalRecord(self.fields, revision, updated_at_us, contributors, self.winners)


class Incomplete(NamedTuple):
    """The entity has no canonical record, because its required fields in `missing` have no value."""

    missing: tuple[str, ...]


def merge(
    contract: EntityContract, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> Merged | Incomplete:
    """Choose every field's value among the contributions to one entity, retracted ones left out.

    `source_order`: the sources in the order of the pipeline file. Other sources rank last, by name.
    """
    live = sorted((claim for claim in contributions if not claim.retracted), key=_origin)
    best = {name: _best(name, key, live) for name, key in _sort_keys(contract, tuple(source_order)).items()}
    fields = {name: None if claim is None else claim.fields[name] for name, claim in best.items()}
    missing = tuple(name for name in contract.required if fields[name] is None)
    if missing:
        return Incomplete(missing)
    winners, contributors = _winners(contract.rules, best)
    return Merged(fields, winners, contributors, canonical_content(fields, contributors, winners))


def candidates(
    contract: EntityContract, field: str, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> list[Contribution]:
    """All claims of one field in the order of its rule, the winner first."""
    live = sorted((claim for claim in contributions if not claim.retracted and field in claim.fields), key=_origin)
    return sorted(live, key=_sort_keys(contract, tuple(source_order))[field])


def _origin(claim: Contribution) -> tuple[str, ...]:
    """The names of a claim, which every rule compares last. No two claims about one entity have equal names."""
    return claim.source, claim.stream, claim.source_key, claim.mapping, claim.output


def _best(field: str, key: _SortKey, live: Sequence[Contribution]) -> Contribution | None:
    claims = [claim for claim in live if field in claim.fields]
    if len(claims) < 2:
        return claims[0] if claims else None
    return min(claims, key=key)  # `min` takes the first of equal claims, and `live` is in order of origin


@lru_cache(maxsize=256)
def _sort_keys(contract: EntityContract, source_order: tuple[str, ...]) -> dict[str, _SortKey]:
    order = {source: rank for rank, source in enumerate(source_order)}
    return {name: _sort_key(name, rule, order) for name, rule in contract.rules.items()}


def _sort_key(field: str, rule: Rule, order: Mapping[str, int]) -> _SortKey:
    rank = _rank(rule, order)
    return (lambda claim: (claim.fields[field] is None, *rank(claim))) if rule.skip_null else rank


def _rank(rule: Rule, order: Mapping[str, int]) -> _SortKey:
    last = len(order)
    if isinstance(rule, Prefer):
        ranks = {source: rank for rank, source in enumerate(rule.sources)}
        return lambda claim: (ranks.get(claim.source, len(ranks)), order.get(claim.source, last))
    if isinstance(rule, MostRecent):
        return lambda claim: (*_recency(claim.effective_at), order.get(claim.source, last))
    return lambda claim: (order.get(claim.source, last),)


def _recency(effective_at: int | None) -> tuple[int, int]:
    """A sort key: the latest effective time comes first, a claim without a time comes last."""
    return (1, 0) if effective_at is None else (0, -effective_at)


def _winners(
    rules: Mapping[str, Rule], best: Mapping[str, Contribution | None]
) -> tuple[list[Winner], list[Contribution]]:
    """Winners in contract order; contributors in the order in which they first win."""
    places: dict[tuple[str, ...], int] = {}
    contributors: list[Contribution] = []
    winners = []
    for field, claim in best.items():
        if claim is None:
            continue
        place = places.setdefault(_origin(claim), len(contributors))
        if place == len(contributors):
            contributors.append(claim)
        winners.append(Winner(field, place, rules[field].name))
    return winners, contributors
