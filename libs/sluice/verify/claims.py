"""Judges whether each claim in the contributions is the one that its raw record maps to. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Literal, NamedTuple

from sluice.kafka.log import Partition
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.verify.expected import ExpectedClaim, said

ClaimState = Literal["ok", "parked", "older-version", "newer-version", "retired", "moving", "finding"]


class ClaimVerdict(NamedTuple):
    """The result for one claim. `what`: what is wrong, if `kind` is "finding". Each other kind except "ok" is a reason
    why the claim is not judged."""

    kind: ClaimState
    what: str = ""


OK = ClaimVerdict("ok")


def _finding(what: str) -> ClaimVerdict:
    return ClaimVerdict("finding", what)


class MapperFacts(NamedTuple):
    """What claims are judged by.

    `versions`: the current version of each mapping, by (source, stream, mapping). `parked`: by (raw topic, source key,
    mapping), the newest position whose record cannot be mapped; the mapping is "" if that is true for all mappings.
    `dead`: the raw records that the mapper parked as dead letters. `raw_ends`: the ends up to which raw was read.
    """

    versions: Mapping[tuple[str, str, str], int]
    parked: Mapping[tuple[str, str, str], Position]
    dead: Container[RawRef]
    raw_ends: Mapping[Partition, int]


def judge(claim: Contribution, expected: ExpectedClaim | None, facts: MapperFacts) -> ClaimVerdict:
    """Compare the highest claim of a contribution key with the claim that the raw records make now; `expected` is None
    if they make no such claim."""
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
        return _other_position(claim, expected, facts)
    if claim.mapping_version < version:
        return ClaimVerdict("older-version")
    if claim.retracted:
        return _finding(f"is retracted, and its raw record {expected.raw.place} is the newest of its key")
    if said(claim.fields, claim.effective_at) != expected.says:
        return _finding(f"is not what raw record {expected.raw.place} maps to")
    if claim.raw == expected.raw and claim.observed_at != expected.observed_at:
        return _finding(f"was observed at another time than its raw record {expected.raw.place} says")
    return OK


def missing(expected: ExpectedClaim, facts: MapperFacts, processed_version: int | None) -> ClaimVerdict:
    """Judge an expected claim for which no contribution exists. `processed_version`: the version that the mapping had
    when the mapper last read the raw record; None if the ledger does not say it."""
    if expected.raw in facts.dead:
        return ClaimVerdict("parked")
    if processed_version is not None and processed_version < expected.version:
        return ClaimVerdict("older-version")
    return _finding(f"no contribution exists for raw record {expected.raw.place}")


def not_parked(mapping_version: int | None, processed_version: int | None) -> ClaimVerdict:
    """Judge a raw record that cannot be mapped, and that the mapper has no dead letter of.

    `mapping_version`: the version of the mapping that fails, None if no mapping can read the record.
    `processed_version`: as for `missing`. An older version may have mapped the record.
    """
    if mapping_version is not None and processed_version is not None and processed_version < mapping_version:
        return ClaimVerdict("older-version")
    return _finding("cannot be mapped, but the mapper has no dead letter of it")


def _unexpected(claim: Contribution, version: int, facts: MapperFacts) -> ClaimVerdict:
    if claim.retracted:
        return OK
    if claim.mapping_version < version:
        return ClaimVerdict("older-version")
    for mapping in (claim.mapping, ""):
        parked = facts.parked.get((claim.raw.topic, claim.source_key, mapping))
        if parked is not None and claim.position <= parked:
            return ClaimVerdict("parked")
    return _finding("exists, but no source record claims it any more: deleted, moved or filtered")


def _other_position(claim: Contribution, expected: ExpectedClaim, facts: MapperFacts) -> ClaimVerdict:
    if claim.position > expected.position:
        return _finding(f"has position {claim.position}, and the newest raw record has {expected.position}")
    if expected.raw in facts.dead:
        return ClaimVerdict("parked")
    return _finding(f"has position {claim.position}; raw record {expected.raw.place} is newer ({expected.position})")
