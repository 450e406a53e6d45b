"""Explains an entity field by field: the value, its source record, the rule, and the claims that lost.

The explanation of a golden record uses the provenance that is stored with the record. A field is marked if a merge of
the current claims would choose another value or source record: then a newer value is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from sluice.entities import EntityContract
from sluice.entities.field_types import Kind
from sluice.errors import DeadRecord
from sluice.explain.evidence import Evidence, gather
from sluice.explain.newer_records import ClaimedBy, NewerRecord, newer_than, newest_by_source_key
from sluice.explain.raw_places import RawPlace, raw_places
from sluice.kafka import LogReader
from sluice.pipeline import Pipeline
from sluice.provenance import Contribution, Incomplete, RawRef, candidates, merge
from sluice.schemas import Registry, make_decoder
from sluice.settings.stage import StageSettings

State = Literal["golden", "not-stored", "withheld", "deleted", "unknown"]


class ClaimOrigin(NamedTuple):
    """The source record of a claim, and the mapping that made the claim from it. Times are µs UTC."""

    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: int
    raw: RawRef
    observed_at: int
    effective_at: int | None

    @classmethod
    def of_claim(cls, claim: Contribution) -> ClaimOrigin:
        return cls(**{name: getattr(claim, name) for name in cls._fields})

    @classmethod
    def of_contributor(cls, contributor: Mapping[str, Any]) -> ClaimOrigin:
        raw = RawRef(contributor["topic"], contributor["partition"], contributor["offset"])
        return cls(**{name: contributor[name] for name in cls._fields if name != "raw"}, raw=raw)

    @property
    def claimed_by(self) -> ClaimedBy:
        """The source record and the mapping of the claim; equal for all versions of the mapping."""
        return self[:4]


class LosingClaim(NamedTuple):
    """The value of a claim that did not win, and the origin of the claim."""

    value: Any
    origin: ClaimOrigin


class FieldExplained(NamedTuple):
    """One field of an entity. `origin`: of the winning claim, None if no mapped record claims the field. `superseded`:
    whether a merge of the current claims would choose another value or origin. `kind`: the type of the value; a
    timestamp is in µs UTC."""

    name: str
    value: Any
    rule: str
    origin: ClaimOrigin | None
    losing: list[LosingClaim]
    superseded: bool
    kind: Kind = "string"


@dataclass(frozen=True)
class Explanation:
    """The explanation of one entity. `golden`: where its golden record is stored, None if it is not. `missing`: the
    required fields without a value. `places`: by the raw record of each winner. `newer`: by claim, the source record
    that is newer than the claim."""

    entity: str
    entity_id: str
    state: State
    golden: Mapping[str, Any] | None
    missing: tuple[str, ...]
    fields: list[FieldExplained]
    places: Mapping[RawRef, RawPlace] = field(default_factory=dict)
    newer: Mapping[ClaimedBy, NewerRecord] = field(default_factory=dict)


def explain(
    pipeline: Pipeline, contract: EntityContract, settings: StageSettings, entity_id: str, only: str | None = None
) -> Explanation:
    """Explain one entity, or only its field `only`. `entity_id`: normalised, or as a source spells it.

    Blocks. Raises EnvironmentFault or Transient if Kafka, the registry or the sink cannot be read.
    """
    with ExitStack() as opened:
        registry = Registry(settings.registry.url, settings.state_dir / "schemas")
        opened.callback(registry.close)
        reader = opened.enter_context(LogReader(settings.kafka))
        decode = make_decoder(registry.by_id)
        evidence = Evidence(entity_id, None, [])
        for candidate in _spellings(contract, entity_id):
            evidence = gather(pipeline, contract, candidate, reader, decode)
            if evidence.known:
                break
        found = explanation(contract, evidence, pipeline.source_order, only)
        winners = [one.origin for one in found.fields if one.origin is not None]
        wanted = [(one.raw, one.source, one.source_key) for one in winners]
        places = raw_places(reader, pipeline.names, pipeline.partitions, wanted)
        keys = {(claim.raw.topic, claim.source_key) for claim in evidence.claims if not claim.retracted}
        newer = newer_than(evidence.claims, newest_by_source_key(reader, settings.kafka, pipeline, keys))
    return replace(found, places=places, newer=newer)


def explanation(
    contract: EntityContract, evidence: Evidence, source_order: Sequence[str], only: str | None = None
) -> Explanation:
    """Explain an entity from its stored data; `places` and `newer` stay empty. Pure."""
    merged = merge(contract, evidence.claims, source_order)
    missing = merged.missing if isinstance(merged, Incomplete) else ()
    names = [only] if only else list(contract.fields)
    fields = [_field(contract, name, evidence, source_order) for name in names]
    about = None if evidence.golden is None else evidence.golden.about
    return Explanation(contract.name, evidence.entity_id, _state(evidence, missing), about, missing, fields)


def _state(evidence: Evidence, missing: Sequence[str]) -> State:
    if evidence.golden is not None:
        return "golden"
    if not evidence.claims:
        return "unknown"
    if all(claim.retracted for claim in evidence.claims):
        return "deleted"
    return "withheld" if missing else "not-stored"


def _field(contract: EntityContract, name: str, evidence: Evidence, source_order: Sequence[str]) -> FieldExplained:
    ranked = [
        (claim.fields[name], ClaimOrigin.of_claim(claim))
        for claim in candidates(contract, name, evidence.claims, source_order)
    ]
    best, best_origin = ranked[0] if ranked else (None, None)
    if evidence.golden is None:
        value, origin, rule = best, best_origin, contract.rules[name].name
    else:
        value = evidence.golden.fields.get(name)
        origin, rule = _winner(name, evidence.golden.provenance) or (None, contract.rules[name].name)
    winner = origin and origin.claimed_by
    losing = [LosingClaim(*one) for one in ranked if one[1].claimed_by != winner]
    superseded = (best, best_origin and best_origin.claimed_by) != (value, winner)
    return FieldExplained(name, value, rule, origin, losing, superseded, contract.fields[name].kind)


def _winner(name: str, provenance: Mapping[str, Any]) -> tuple[ClaimOrigin, str] | None:
    for winner in provenance["winners"]:
        if winner["field"] == name:
            return ClaimOrigin.of_contributor(provenance["contributors"][winner["contributor"]]), winner["rule"]
    return None


def _spellings(contract: EntityContract, given: str) -> Iterator[str]:
    """Yields the id as given, then as the contract normalises it, if that is another text."""
    yield given
    try:
        normalised = contract.entity_id(given)
    except DeadRecord:
        return
    if normalised != given:
        yield normalised
