"""From a completed source record to contributions: what is claimed anew, what is retracted, what is too old.

Pure: key state and record in, contributions and outcome out. The order of claims is (position, mapping version,
retracted); lower loses, equal is no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sluice.entities import Mapping
from sluice.entities.mapping import Claim
from sluice.errors import DeadRecord
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw.source_record import SourceRecord
from sluice.stage.batch import Outcome
from sluice_mapper.key_state import KeyState, Target


class Origin(NamedTuple):
    """What all contributions of one raw record share."""

    source: str
    stream: str
    source_key: str
    position: Position
    raw: RawRef
    observed_at: int


class Step(NamedTuple):
    """`contributions` (entity, contribution): new claims stand before retractions. `dead`: why a mapping failed."""

    contributions: list[tuple[str, Contribution]]
    outcome: Outcome
    dead: DeadRecord | None = None


def decided(mapping: Mapping, state: KeyState, position: Position) -> Outcome | None:
    """What a record at `position` comes to whatever it says, because as new a claim or delete was made; else None."""
    if state.deleted is not None and position <= state.deleted:
        return "unchanged" if position == state.deleted else "superseded"
    before = state.emitted.get(mapping.name)
    now = (position, mapping.version)
    if before is None or now > before:
        return None
    return "unchanged" if now == before else "superseded"


def upsert(mapping: Mapping, record: SourceRecord, state: KeyState, origin: Origin) -> Step:
    """Apply one mapping to a record and advance `state` if it claims something newer."""
    position = record.position
    before_us = decided(mapping, state, position)
    if before_us is not None:
        return Step([], before_us)
    now = (position, mapping.version)
    try:
        claims = mapping.apply(record.row)
    except DeadRecord as error:
        return Step([], "dead", error)
    targets: list[Target] = [(c.entity, c.entity_id, c.output) for c in claims]
    gone = [t for t in state.targets.get(mapping.name, ()) if t not in targets]
    made = [(c.entity, _claimed(mapping, c, origin)) for c in claims]
    made += _retractions(gone, mapping.name, mapping.version, mapping.entity.version, origin)
    state.emitted[mapping.name] = now
    state.targets[mapping.name] = targets
    return Step(made, "mapped" if made else "filtered")


def retract_all(versions: dict[str, tuple[int, int]], state: KeyState, origin: Origin) -> Step:
    """A delete at the origin's position: retract what stands, and remember it, for a key never seen too.

    `versions`: by mapping name, its version and its contract's. What a mapping since removed has claimed is retracted
    with the version that claimed it.
    """
    position = origin.position
    if state.deleted is not None and position <= state.deleted:
        return Step([], "unchanged" if position == state.deleted else "superseded")
    made: list[tuple[str, Contribution]] = []
    superseded = False
    for name in state.emitted:
        at, emitted_version = state.emitted[name]
        version, contract = versions.get(name, (emitted_version, 1))
        version = max(version, emitted_version)
        if position < at:
            superseded = True
            continue
        made += _retractions(state.targets.get(name, ()), name, version, contract, origin)
        state.emitted[name] = (position, version)
        state.targets[name] = []
    state.deleted = position
    if superseded:
        return Step(made, "superseded")
    return Step(made, "mapped" if made else "unchanged")


def restore(state: KeyState, mapping: str, emitted: tuple[Position, int] | None, targets: list[Target] | None) -> None:
    """Take back what a mapping's step did to `state`: what it claimed could not be emitted."""
    if emitted is None:
        state.emitted.pop(mapping, None)
        state.targets.pop(mapping, None)
    else:
        state.emitted[mapping] = emitted
        state.targets[mapping] = targets or []


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome for a record that several mappings read."""
    ranked: tuple[Outcome, ...] = ("dead", "mapped", "superseded", "unchanged", "filtered")
    return min(outcomes, key=ranked.index, default="filtered")


def _claimed(mapping: Mapping, claim: Claim, origin: Origin) -> Contribution:
    return Contribution(
        entity_id=claim.entity_id,
        source=origin.source,
        stream=origin.stream,
        source_key=origin.source_key,
        mapping=mapping.name,
        mapping_version=mapping.version,
        output=claim.output,
        position=origin.position,
        raw=origin.raw,
        observed_at=origin.observed_at,
        effective_at=claim.effective_at,
        contract=mapping.entity.version,
        fields=claim.fields,
        retracted=False,
    ).sealed()


def _retractions(
    targets: Iterable[Target], mapping: str, version: int, contract: int, origin: Origin
) -> list[tuple[str, Contribution]]:
    return [
        (
            entity,
            Contribution(
                entity_id=entity_id,
                source=origin.source,
                stream=origin.stream,
                source_key=origin.source_key,
                mapping=mapping,
                mapping_version=version,
                output=output,
                position=origin.position,
                raw=origin.raw,
                observed_at=origin.observed_at,
                effective_at=None,
                contract=contract,
                fields={},
                retracted=True,
            ).sealed(),
        )
        for entity, entity_id, output in targets
    ]
