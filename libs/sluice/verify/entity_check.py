"""A round of one entity compared with its input: claims with raw records, canonical records with their merge."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.provenance import Contribution, RawRef
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.claims import MapperFacts, judge
from sluice.verify.context import VerifyContext
from sluice.verify.entity_logs import (
    EntityRound,
    EntityTopics,
    NewestCanonical,
    entity_of,
    log_findings,
    merge_findings,
)
from sluice.verify.expected import ExpectedClaim
from sluice.verify.report import Check, place


class EntityCheck:
    """Adds candidates, and counts what was checked. `dead`: places of the merger's dead letters."""

    def __init__(self, context: VerifyContext, topics: EntityTopics, dead: Container[RawRef]) -> None:
        self.topics = topics
        self._context = context
        self._dead = dead
        self._checked = context.report.checked

    def check(
        self, found: EntityRound, partition: int, expected: dict[bytes, ExpectedClaim], facts: MapperFacts
    ) -> Iterator[tuple[str, NewestCanonical, DecodedCanonical]]:
        """Judge every claim of a partition, then every canonical record. Removes each claim from `expected`.

        Yields (entity id, canonical record, its value) of those that exist and can be read.
        """
        at, canonical_at = (self.topics.contributions, partition), (self.topics.canonical, partition)
        highest, canonical = found.contributions.highest.get(at, {}), found.canonical.get(canonical_at, {})
        for key, one in highest.items():
            for check, what in log_findings(one):
                where = place(*at, one.last_offset)
                self._context.candidates.append(Candidate(check, where, key.decode(), what, (at, entity_of(key))))
        for entity_id, claims in found.contributions.entities(at):
            self._require_place("raw-contributions", at, entity_id)
            for key, claim in claims:
                self._claim(claim, place(*at, highest[key].offset), expected, facts)
            yield from self._canonical(found, partition, entity_id, [claim for _, claim in claims])
        for entity_id in canonical.keys() - {entity_of(key) for key in highest}:
            yield from self._canonical(found, partition, entity_id, [])

    def _claim(self, claim: Contribution, where: str, expected: dict[bytes, ExpectedClaim], facts: MapperFacts) -> None:
        self._checked["claims"] += 1
        verdict = judge(claim, expected.pop(claim.key, None), facts)
        if verdict.kind == "finding":
            watched = (claim.raw.at, claim.source_key)
            what, key = verdict.what, claim.key.decode()
            self._context.candidates.append(Candidate("raw-contributions", where, key, what, watched))
        elif verdict.kind != "ok":
            self._checked[verdict.kind] += 1

    def _canonical(
        self, found: EntityRound, partition: int, entity_id: str, claims: Sequence[Contribution]
    ) -> Iterator[tuple[str, NewestCanonical, DecodedCanonical]]:
        """Compare an entity's newest canonical record with the merge of its claims."""
        at, canonical_at = (self.topics.contributions, partition), (self.topics.canonical, partition)
        newest = found.canonical.get(canonical_at, {}).get(entity_id)
        decoded, unreadable = self._decoded(newest)
        if newest is not None:
            self._require_place("contributions-canonical", canonical_at, entity_id)
            if decoded is not None:
                yield entity_id, newest, decoded
        if entity_id in found.unmerged:
            return
        self._checked["entities"] += 1
        where = place(*canonical_at, newest.offset) if newest else f"{canonical_at[0]}/{canonical_at[1]}"
        order = self._context.pipeline.source_order
        wrong = [unreadable] if unreadable else [*merge_findings(self.topics.contract, claims, order, newest, decoded)]
        highest = found.contributions.highest.get(at, {})
        if wrong and any(RawRef(*at, highest[claim.key].offset) in self._dead for claim in claims):
            # The merge is too large for any topic, so the canonical record before it stays.
            self._checked["parked entities"] += 1
            return
        self._context.candidates.extend(
            Candidate("contributions-canonical", where, entity_id, what, (at, entity_id)) for what in wrong
        )

    def _require_place(self, check: Check, at: Partition, entity_id: str) -> None:
        belongs = murmur2_partition(entity_id.encode(), self._context.pipeline.partitions)
        if belongs != at[1]:
            self._context.report.found(check, f"{at[0]}/{at[1]}", entity_id, f"belongs in partition {belongs}")

    def _decoded(self, newest: NewestCanonical | None) -> tuple[DecodedCanonical | None, str]:
        if newest is None or newest.value is None:
            return None, ""
        try:
            return self._context.decode(newest.value), ""
        except DeadRecord as error:
            return None, f"cannot be read ({error.code})"
