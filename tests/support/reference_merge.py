"""Survivorship field by field: the reference implementation with which tests compare `sluice.provenance.merge`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sluice.canonical_json import canonical_bytes
from sluice.entities import EntityContract
from sluice.entities.rules import MostRecent, Prefer
from sluice.provenance import Contribution, Incomplete, Merged, Winner


def reference_merge(
    contract: EntityContract, contributions: Iterable[Contribution], source_order: Sequence[str]
) -> Merged | Incomplete:
    live = sorted((claim for claim in contributions if not claim.retracted), key=_origin)
    best = {name: _best(contract, name, live, source_order) for name in contract.fields}
    fields = {name: None if claim is None else claim.fields[name] for name, claim in best.items()}
    missing = tuple(name for name in contract.required if fields[name] is None)
    if missing:
        return Incomplete(missing)
    contributors: list[Contribution] = []
    winners = []
    for name, claim in best.items():
        if claim is not None:
            if claim not in contributors:
                contributors.append(claim)
            winners.append(Winner(name, contributors.index(claim), contract.rules[name].name))
    return Merged(fields, tuple(winners), contributors, _content(fields, contributors, winners))


def _origin(claim: Contribution) -> tuple[str, ...]:
    return claim.source, claim.stream, claim.source_key, claim.mapping, claim.output


def _best(
    contract: EntityContract, name: str, live: Iterable[Contribution], source_order: Sequence[str]
) -> Contribution | None:
    rule = contract.rules[name]

    def order(claim: Contribution) -> tuple[Any, ...]:
        key: list[Any] = [rule.skip_null and claim.fields[name] is None]
        if isinstance(rule, Prefer):
            key.append(_place(claim.source, rule.sources))
        if isinstance(rule, MostRecent):
            key += [claim.effective_at is None, -(claim.effective_at or 0)]
        return (*key, _place(claim.source, source_order), _origin(claim))

    return min((claim for claim in live if name in claim.fields), key=order, default=None)


def _place(source: str, sources: Sequence[str]) -> int:
    return list(sources).index(source) if source in sources else len(sources)


def _content(fields: Mapping[str, Any], contributors: Sequence[Contribution], winners: Iterable[Winner]) -> str:
    origins = [[c.source, c.stream, c.source_key, c.mapping] for c in contributors]
    won = [[winner.field, winner.rule, *origins[winner.contributor]] for winner in winners]
    given = {name: value for name, value in fields.items() if value is not None}
    return f"v1:{hashlib.sha256(canonical_bytes({'fields': given, 'winners': won})).hexdigest()}"
