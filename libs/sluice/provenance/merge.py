"""Survivorship: merges all contributions to one entity into one canonical record.

The result is a pure function of the contributions and does not depend on their order of arrival. Each field's rule is a
total order over the claims of the field. A rule compares only facts of the sources: rank, effective time and names. It
never compares positions, offsets or clocks, so every replay ends with the same content.
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
    """The merged content of an entity all of whose required fields have a value.

    `fields`: all fields, in the order of the contract. `contributors`: only the contributions that won a field.
    """

    fields: dict[str, Any]
    winners: list[Winner]
    contributors: list[Contribution]
    content: str

    def record(self, revision: int, updated_at_us: int) -> CanonicalRecord:
        """The canonical record of this content. `updated_at_us`: Unix microseconds."""
        contributors = [Contributor.of(contribution) for contribution in self.contributors]
        return CanonicalRecord(self.fields, revision, updated_at_us, contributors, self.winners)


class Incomplete(NamedTuple):
    """An entity has no canonical record, because no claim gives a value to the required fields in `missing`."""

    missing: tuple[str, ...]


def merge(
    contract: EntityContract, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> Merged | Incomplete:
    """Choose the value of each field among the contributions to one entity. Retracted contributions do not count.

    `source_order`: the sources in the order of the pipeline file. Sources that it does not contain rank last, ordered
    by name.
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
    """The contributions that claim `field`, in the order of the field's rule, the winner first. Retracted contributions
    are left out."""
    live = sorted((claim for claim in contributions if not claim.retracted and field in claim.fields), key=_origin)
    return sorted(live, key=_sort_keys(contract, tuple(source_order))[field])


def _origin(claim: Contribution) -> tuple[str, ...]:
    """The names that identify a claim about an entity. Each rule compares them last, so that it never ends in a tie."""
    return claim.source, claim.stream, claim.source_key, claim.mapping, claim.output


def _best(field: str, key: _SortKey, live: Sequence[Contribution]) -> Contribution | None:
    claims = [claim for claim in live if field in claim.fields]
    if len(claims) < 2:
        return claims[0] if claims else None
    return min(claims, key=key)  # `live` is sorted by origin, and `min` returns the first of equal claims


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
    """A sort key of claims by effective time: the latest time comes first, a claim without a time comes last."""
    return (1, 0) if effective_at is None else (0, -effective_at)


def _winners(
    rules: Mapping[str, Rule], best: Mapping[str, Contribution | None]
) -> tuple[list[Winner], list[Contribution]]:
    """The winner of each claimed field, in the order of the contract, and the contributors that won.

    Contributors are in the order in which they first win a field. `best`: the winning claim of each field.
    """
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
