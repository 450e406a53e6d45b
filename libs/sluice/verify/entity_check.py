"""Compares one partition of an entity with its input: claims with raw records, canonical records with the merge of the
claims."""

from __future__ import annotations

from collections.abc import Container, Sequence

from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.provenance import Contribution, RawRef
from sluice.schemas.decoder import DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.claims import MapperFacts, judge
from sluice.verify.context import VerifyContext
from sluice.verify.entity_logs import EntityPartition, NewestCanonical, entity_of, log_findings, merge_findings
from sluice.verify.expected import ExpectedClaim
from sluice.verify.report import Check, place
from sluice.verify.row_check import ProvenanceCheck, golden_says


class EntityCheck:
    """Adds candidates, and counts what was checked.

    `expected`: the claims that must exist, by contribution key; each claim that is read is removed from it. `dead`: the
    contributions that the merger parked as dead letters. `provenance`: checks the provenance in canonical records; None
    if the rows of a sink are checked instead.
    """

    def __init__(
        self,
        context: VerifyContext,
        expected: dict[bytes, ExpectedClaim],
        facts: MapperFacts,
        dead: Container[RawRef],
        provenance: ProvenanceCheck | None,
    ) -> None:
        self._context = context
        self._expected = expected
        self._facts = facts
        self._dead = dead
        self._provenance = provenance
        self._checked = context.report.checked

    def check(self, logs: EntityPartition) -> None:
        """Judge every claim of a partition, then every canonical record, whose digest is noted in `says`."""
        at, highest = logs.contributions_at, logs.contributions.highest
        keys_of: dict[str, list[bytes]] = {}
        for key, one in highest.items():
            entity_id = entity_of(key)
            keys_of.setdefault(entity_id, []).append(key)
            for check, what in log_findings(one):
                where = place(*at, one.last_offset)
                self._context.candidates.append(Candidate(check, where, key.decode(), what, (at, entity_id)))
        for entity_id, keys in keys_of.items():
            self._require_place("raw-contributions", at, entity_id)
            claims = [highest[key].claim for key in keys]
            for claim in claims:
                self._claim(logs, claim)
            self._canonical(logs, entity_id, claims)
        for entity_id in logs.canonical.keys() - keys_of.keys():
            self._canonical(logs, entity_id, [])

    def _claim(self, logs: EntityPartition, claim: Contribution) -> None:
        self._checked["claims"] += 1
        key = claim.key
        verdict = judge(claim, self._expected.pop(key, None), self._facts)
        if verdict.kind == "finding":
            where = place(*logs.contributions_at, logs.contributions.highest[key].offset)
            watched = (claim.raw.at, claim.source_key)
            self._context.candidates.append(Candidate("raw-contributions", where, key.decode(), verdict.what, watched))
        elif verdict.kind != "ok":
            self._checked[verdict.kind] += 1

    def _canonical(self, logs: EntityPartition, entity_id: str, claims: Sequence[Contribution]) -> None:
        """Compare an entity's newest canonical record with the merge of its claims."""
        at, newest = logs.canonical_at, logs.canonical.get(entity_id)
        where = place(*at, newest.offset) if newest else f"{at[0]}/{at[1]}"
        decoded, unreadable = self._decoded(newest)
        if newest is not None:
            self._require_place("contributions-canonical", at, entity_id)
            if decoded is not None:
                newest.says = golden_says(logs.contract, decoded)
                if self._provenance is not None:
                    self._provenance.check(where, entity_id, decoded.sluice["contributors"])
        if entity_id in logs.unmerged:
            return
        self._checked["entities"] += 1
        order = self._context.pipeline.source_order
        wrong = [unreadable] if unreadable else [*merge_findings(logs.contract, claims, order, newest, decoded)]
        read_from, highest = logs.contributions_at, logs.contributions.highest
        if wrong and any(RawRef(*read_from, highest[claim.key].offset) in self._dead for claim in claims):
            # The merge is too large for any topic, so the canonical record before it stays current.
            self._checked["parked entities"] += 1
            return
        self._context.candidates.extend(
            Candidate("contributions-canonical", where, entity_id, what, (read_from, entity_id)) for what in wrong
        )

    def _require_place(self, check: Check, at: Partition, entity_id: str) -> None:
        belongs = murmur2_partition(entity_id.encode(), self._context.pipeline.partitions)
        if belongs != at[1]:
            self._context.report.found(check, f"{at[0]}/{at[1]}", entity_id, f"belongs in partition {belongs}")

    def _decoded(self, newest: NewestCanonical | None) -> tuple[DecodedCanonical | None, str]:
        """The value of a canonical record (None if it has none), and why it cannot be read."""
        if newest is None or newest.value is None:
            return None, ""
        try:
            return self._context.decode(newest.value), ""
        except DeadRecord as error:
            return None, f"cannot be read ({error.code})"
