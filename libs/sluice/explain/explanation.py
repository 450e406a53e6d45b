"""An entity explained field by field: value, source record, rule, and the claims that lost.

Of a golden record the provenance stored with it is told, not what a merge would choose now; where the two differ,
something newer is on its way, and that is said.
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
    """A source record that claims a field, and how. Times are µs UTC."""

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
        return cls(
            claim.source,
            claim.stream,
            claim.source_key,
            claim.mapping,
            claim.mapping_version,
            claim.raw,
            claim.observed_at,
            claim.effective_at,
        )

    @classmethod
    def of_contributor(cls, told: Mapping[str, Any]) -> ClaimOrigin:
        names = ("source", "stream", "source_key", "mapping", "mapping_version", "observed_at", "effective_at")
        source, stream, key, mapping, version, observed_at, effective_at = (told[name] for name in names)
        raw = RawRef(told["topic"], told["partition"], told["offset"])
        return cls(source, stream, key, mapping, version, raw, observed_at, effective_at)

    def same_record(self, other: ClaimOrigin) -> bool:
        """Whether it is the same source record read by the same mapping, at whatever version."""
        return self[:4] == other[:4]


class LosingClaim(NamedTuple):
    """A claim that did not win: its value and where it comes from."""

    value: Any
    origin: ClaimOrigin


class FieldExplained(NamedTuple):
    """`origin` None: nobody claims the field. `superseded`: a newer merge would choose otherwise. `kind`: what the
    value is; a timestamp is µs UTC."""

    name: str
    value: Any
    rule: str
    origin: ClaimOrigin | None
    losing: list[LosingClaim]
    superseded: bool
    kind: Kind = "string"


@dataclass(frozen=True)
class Explanation:
    """`missing`: required fields without a value, of a withheld entity. `places` by raw record of the winners; `newer`:
    what sources said above standing claims."""

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
    """Explain one entity, or one field of it. The id may be given as a source spells it.

    Raises EnvironmentFault and Transient.
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
        made = explanation(contract, evidence, pipeline.source_order, only)
        winners = [one.origin for one in made.fields if one.origin is not None]
        wanted = [(one.raw, one.source, one.source_key) for one in winners]
        places = raw_places(reader, pipeline.names, pipeline.partitions, wanted)
        keys = {(claim.raw.topic, claim.source_key) for claim in evidence.claims if not claim.retracted}
        newer = newer_than(evidence.claims, newest_by_source_key(reader, settings.kafka, pipeline, keys))
    return replace(made, places=places, newer=newer)


def explanation(
    contract: EntityContract, evidence: Evidence, source_order: Sequence[str], only: str | None = None
) -> Explanation:
    """What the evidence says. Pure."""
    merged = merge(contract, evidence.claims, source_order)
    missing = merged.missing if isinstance(merged, Incomplete) else ()
    names = [only] if only else list(contract.fields)
    fields = [_field(contract, name, evidence, source_order) for name in names]
    golden = evidence.golden
    about = None
    if golden is not None:
        about = {name: value for name, value in golden._asdict().items() if name not in ("fields", "provenance")}
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
    best = ranked[0] if ranked else None
    if evidence.golden is None:
        value, origin, rule = best[0] if best else None, best[1] if best else None, contract.rules[name].name
    else:
        value = evidence.golden.fields.get(name)
        origin, rule = _winner(name, evidence.golden.provenance) or (None, contract.rules[name].name)
    losing = [LosingClaim(*one) for one in ranked if origin is None or not one[1].same_record(origin)]
    now = (best[0], best[1][:4]) if best else (None, None)
    stands = (value, origin[:4] if origin else None)
    return FieldExplained(name, value, rule, origin, losing, now != stands, contract.fields[name].kind)


def _winner(name: str, provenance: Mapping[str, Any]) -> tuple[ClaimOrigin, str] | None:
    for winner in provenance["winners"]:
        if winner["field"] == name:
            return ClaimOrigin.of_contributor(provenance["contributors"][winner["contributor"]]), winner["rule"]
    return None


def _spellings(contract: EntityContract, given: str) -> Iterator[str]:
    """The id as given, and as the contract normalises it."""
    yield given
    try:
        normalised = contract.entity_id(given)
    except DeadRecord:
        return
    if normalised != given:
        yield normalised
