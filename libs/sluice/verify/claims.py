"""Contributions as they stand: the log of some partitions, and whether each claim is what its raw record says."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import orjson

from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.position import Position
from sluice.provenance import ClaimOrder, Contribution, RawRef
from sluice.verify.expected import ExpectedClaim, said

ClaimState = Literal["ok", "parked", "older-version", "newer-version", "retired", "moving", "finding"]


class ClaimVerdict(NamedTuple):
    """`what` says what is wrong, for a finding. Every other kind but "ok" says why the claim could not be judged."""

    kind: ClaimState
    what: str = ""


OK = ClaimVerdict("ok")


@dataclass(slots=True)
class HighestClaim:
    """One contribution key: its highest claim (JSON), where that stands, and what else was read under the key.

    `older`: records below the highest one that stood before them; `repeated`: equal ones.
    """

    value: bytes
    order: ClaimOrder
    offset: int
    last_order: ClaimOrder
    last_offset: int
    older: int = 0
    repeated: int = 0


class ContributionLog:
    """The contributions of some partitions of one entity, read from the beginning, by key."""

    def __init__(self) -> None:
        self.held: dict[Partition, dict[bytes, HighestClaim]] = {}
        self.unreadable: list[tuple[Partition, int]] = []

    def add(self, at: Partition, offset: int, key: bytes | None, value: bytes | None) -> Contribution | None:
        """Take the next record; returns its claim, None for a tombstone and for what is no contribution."""
        held = self.held.setdefault(at, {})
        if value is None:
            held.pop(key or b"", None)
            return None
        try:
            claim = Contribution.from_json(value)
            if key is None or claim.key != key:
                raise DeadRecord("bad-key", "the key is not that of the contribution")
        except DeadRecord:
            self.unreadable.append((at, offset))
            return None
        before, order = held.get(key), claim.claim_order
        if before is None:
            held[key] = HighestClaim(value, order, offset, order, offset)
            return claim
        before.last_order, before.last_offset = order, offset
        if order < before.order:
            before.older += 1
        else:
            before.repeated += order == before.order
            before.value, before.order, before.offset = value, order, offset
        return claim

    def entities(self, at: Partition) -> Iterator[tuple[str, list[tuple[bytes, Contribution]]]]:
        """The highest claims to each entity of a partition, with their keys."""
        held = self.held.get(at, {})
        keys: dict[str, list[bytes]] = {}
        for key in held:
            keys.setdefault(orjson.loads(key)[0], []).append(key)
        for entity_id, several in keys.items():
            yield entity_id, [(key, Contribution.from_json(held[key].value)) for key in several]


def log_findings(held: HighestClaim) -> Iterator[tuple[Literal["I2", "I4"], str]]:
    """What is wrong with the records of one key, among themselves."""
    if held.last_order < held.order:
        yield "I4", f"is not the highest claim of its key; that one stands at offset {held.offset}"
    # The merger writes a held claim back above an older one; without an older one there is nothing to repeat.
    if held.repeated > held.older:
        yield "I2", f"{held.repeated} times the same claim again"


class MapperFacts(NamedTuple):
    """What a claim is judged with. `parked`: (raw topic, source key, mapping) → newest position that could not be
    mapped; `dead`: places of the mapper's dead letters; `raw_ends`: how far raw was read."""

    versions: Mapping[tuple[str, str, str], int]
    parked: Mapping[tuple[str, str, str], Position]
    dead: Container[RawRef]
    raw_ends: Mapping[Partition, int]


def judge(claim: Contribution, expected: ExpectedClaim | None, facts: MapperFacts) -> ClaimVerdict:
    """Whether the highest claim of a key is what the raw records up to their ends say."""
    version = facts.versions.get((claim.source, claim.stream, claim.mapping))
    if version is None:
        return OK if claim.retracted else ClaimVerdict("retired")
    if claim.raw.offset >= facts.raw_ends.get((claim.raw.topic, claim.raw.partition), 0):
        return ClaimVerdict("moving")
    if claim.mapping_version > version:
        return ClaimVerdict("newer-version")
    if expected is None:
        return _unexpected(claim, version, facts)
    if claim.position != expected.position:
        return _elsewhere(claim, expected, facts)
    if claim.mapping_version < version:
        return ClaimVerdict("older-version")
    if claim.retracted:
        return ClaimVerdict(
            "finding", f"is retracted, and its raw record {_place(expected.raw)} is the newest of its key"
        )
    if said(claim.fields, claim.effective_at) != expected.says:
        return ClaimVerdict("finding", f"is not what raw record {_place(expected.raw)} maps to")
    if claim.raw == expected.raw and claim.observed_at != expected.observed_at:
        return ClaimVerdict("finding", f"was observed at another time than its raw record {_place(expected.raw)} says")
    return OK


def missing(expected: ExpectedClaim, facts: MapperFacts, processed_version: int | None) -> ClaimVerdict:
    """What is to be said of a claim that must stand and does not. `processed_version`: of the mapping, when the raw
    record was last read, None if the ledger does not know."""
    if expected.raw in facts.dead:
        return ClaimVerdict("parked")
    if processed_version is not None and processed_version < expected.version:
        return ClaimVerdict("older-version")
    return ClaimVerdict("finding", f"no contribution was made from raw record {_place(expected.raw)}")


def _unexpected(claim: Contribution, version: int, facts: MapperFacts) -> ClaimVerdict:
    if claim.retracted:
        return OK
    if claim.mapping_version < version:
        return ClaimVerdict("older-version")
    for mapping in (claim.mapping, ""):
        parked = facts.parked.get((claim.raw.topic, claim.source_key, mapping))
        if parked is not None and claim.position <= parked:
            return ClaimVerdict("parked")
    return ClaimVerdict("finding", "stands, and no source record makes it any more: deleted, moved or filtered")


def _elsewhere(claim: Contribution, expected: ExpectedClaim, facts: MapperFacts) -> ClaimVerdict:
    if claim.position > expected.position:
        return ClaimVerdict(
            "finding", f"has position {claim.position}, and the newest raw record has {expected.position}"
        )
    if expected.raw in facts.dead:
        return ClaimVerdict("parked")
    return ClaimVerdict(
        "finding", f"has position {claim.position}; raw record {_place(expected.raw)} is newer ({expected.position})"
    )


def _place(raw: RawRef) -> str:
    return f"{raw.topic}/{raw.partition}@{raw.offset}"
