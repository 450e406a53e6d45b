"""One round of one entity held against what is before it: claims against raw records, goldens against claims."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from sluice.errors import DeadRecord
from sluice.kafka import murmur2_partition
from sluice.kafka.log import Partition
from sluice.provenance import Contribution, RawRef
from sluice.schemas.decoder import Decode, DecodedCanonical
from sluice.verify.candidates import Candidate
from sluice.verify.canonical_log import NewestCanonical, merge_findings
from sluice.verify.claims import MapperFacts, judge, log_findings
from sluice.verify.entity_round import EntityRound, EntityTopics, entity_of
from sluice.verify.expected import ExpectedClaim
from sluice.verify.report import Check, Report, place


class EntityCheck:
    """Collects candidates; counts what was looked at in the report. `dead`: places of the merger's dead letters."""

    def __init__(
        self,
        topics: EntityTopics,
        source_order: Sequence[str],
        decode: Decode,
        dead: Container[RawRef],
        report: Report,
        out: list[Candidate],
    ) -> None:
        self.topics = topics
        self._source_order = source_order
        self._decode = decode
        self._dead = dead
        self._report = report
        self._out = out

    def check(
        self, made: EntityRound, partition: int, expected: dict[bytes, ExpectedClaim], facts: MapperFacts
    ) -> Iterator[tuple[str, NewestCanonical, DecodedCanonical]]:
        """Judge every claim of a partition, then every golden record; takes what was met out of `expected`.

        Yields (entity id, golden, its value) of those that stand and can be read.
        """
        at, golden_at = (self.topics.contributions, partition), (self.topics.canonical, partition)
        held, goldens = made.contributions.held.get(at, {}), made.goldens.newest.get(golden_at, {})
        for key, one in held.items():
            for check, what in log_findings(one):
                where = place(*at, one.last_offset)
                self._out.append(Candidate(check, where, key.decode(), what, (at, entity_of(key))))
        for entity_id, claims in made.contributions.entities(at):
            self._placed("raw-contributions", at, entity_id)
            for key, claim in claims:
                self._claim(claim, place(*at, held[key].offset), expected, facts)
            yield from self._golden(made, partition, entity_id, [claim for _, claim in claims])
        spoken_of = {entity_of(key) for key in held}
        for entity_id in goldens.keys() - spoken_of:
            yield from self._golden(made, partition, entity_id, [])

    def _claim(self, claim: Contribution, where: str, expected: dict[bytes, ExpectedClaim], facts: MapperFacts) -> None:
        self._report.checked["claims"] += 1
        verdict = judge(claim, expected.pop(claim.key, None), facts)
        if verdict.kind == "finding":
            watched = ((claim.raw.topic, claim.raw.partition), claim.source_key)
            self._out.append(Candidate("raw-contributions", where, claim.key.decode(), verdict.what, watched))
        elif verdict.kind != "ok":
            self._report.checked[verdict.kind] += 1

    def _golden(
        self, made: EntityRound, partition: int, entity_id: str, claims: Sequence[Contribution]
    ) -> Iterator[tuple[str, NewestCanonical, DecodedCanonical]]:
        """Hold an entity's newest canonical record against the merge of its claims."""
        at, golden_at = (self.topics.contributions, partition), (self.topics.canonical, partition)
        golden = made.goldens.newest.get(golden_at, {}).get(entity_id)
        decoded, wrong = self._decoded(golden)
        if golden is not None:
            self._placed("contributions-canonical", golden_at, entity_id)
            if decoded is not None:
                yield entity_id, golden, decoded
        if entity_id in made.unmerged:
            return
        self._report.checked["entities"] += 1
        where = place(*golden_at, golden.offset) if golden else f"{golden_at[0]}/{golden_at[1]}"
        contract, order = self.topics.contract, self._source_order
        found = [wrong] if wrong else merge_findings(contract, claims, order, golden, decoded)
        held = made.contributions.held.get(at, {})
        if found and any(RawRef(*at, held[claim.key].offset) in self._dead for claim in claims):
            # A golden record that no topic takes: what stood before it stays.
            self._report.checked["parked entities"] += 1
            return
        self._out += [Candidate("contributions-canonical", where, entity_id, what, (at, entity_id)) for what in found]

    def _placed(self, check: Check, at: Partition, entity_id: str) -> None:
        belongs = murmur2_partition(entity_id.encode(), self.topics.partitions)
        if belongs != at[1]:
            self._report.found(check, f"{at[0]}/{at[1]}", entity_id, f"belongs in partition {belongs}")

    def _decoded(self, golden: NewestCanonical | None) -> tuple[DecodedCanonical | None, str]:
        if golden is None or golden.value is None:
            return None, ""
        try:
            return self._decode(golden.value), ""
        except DeadRecord as error:
            return None, f"cannot be read ({error.code})"
