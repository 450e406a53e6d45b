"""One partition of one entity: its current claims, and the entities to merge again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import OVER_HEADER
from sluice.kafka.record import Record, number_in
from sluice.provenance import Contribution
from sluice.stage.batch import Outcome
from sluice.stage.partition_record import LogStart
from sluice.stage.process import Owned
from sluice.state import View
from sluice.state.view import Stored
from sluice_merger.views import (
    StoredClaim,
    contribution_in,
    contribution_of,
    entity_id_of,
    entity_of,
    entity_prefix,
    offset_in,
    packed,
)

# Beyond so many touched entities a full pass over the partition costs less memory and hardly more time.
TOUCHED_MAX = 100_000
SLICE_ENTITIES = 500


@dataclass(slots=True)
class MergedPartition:
    """`drained`: every entity that changed while the partition had no owner is merged again; `draining`: becomes
    `drained` when the open batch commits. `rules_before`: the rules that the canonical records were merged with.

    `write_back`: the keys whose stored claim must be written again, above an older one in the log. `everything`: all
    entities must be merged again (the rules changed, or too many are touched), those after `after` are left."""

    owned: Owned
    contributions: View
    canonical: View
    touched: set[str] = field(default_factory=set)
    write_back: set[bytes] = field(default_factory=set)
    everything: bool = False
    after: bytes = b""
    after_canonical: bytes = b""
    rules: dict[str, str] = field(default_factory=dict)
    rules_before: dict[str, str] = field(default_factory=dict)
    drained: bool = False
    draining: bool = False

    def touch(self, entity_id: str) -> None:
        if not self.everything:
            self.touched.add(entity_id)
            if len(self.touched) > TOUCHED_MAX:
                self.touched.clear()
                self.everything = True

    def touch_contribution(self, key: bytes) -> None:
        try:
            self.touch(entity_of(key))
        except (ValueError, KeyError, IndexError, TypeError):
            return  # not the key of a contribution; the record becomes a dead letter where it is consumed

    def touch_canonical(self, key: bytes) -> None:
        entity_id = entity_id_of(key)
        if entity_id is not None:
            self.touch(entity_id)

    def project(self, key: bytes, message: Message, stored: Stored) -> bytes | None:
        """For restoring: what is stored of a key after `message`."""
        value, offset = message.value(), message.offset() or 0
        if value is None:
            return self._after_null(key, dict(message.headers() or ()).get(OVER_HEADER), offset, stored())
        try:
            claim = contribution_of(key, value)
        except DeadRecord:
            return stored()  # it becomes a dead letter where it is consumed
        return self._after_claim(key, value, offset, claim, stored())[0]

    def take(self, record: Record, claim: Contribution) -> Outcome | None:
        """Store `claim`, read from `record`, if it is the highest of its key. Returns the record's outcome, or None if
        the entity must be merged again."""
        key, value = record.key or b"", record.value or b""
        before = self.contributions.get(key)
        after, outcome = self._after_claim(key, value, record.offset, claim, before)
        if after is not before:
            self.contributions.put(key, after)
        return outcome

    def _after_claim(
        self, key: bytes, value: bytes, offset: int, claim: Contribution, before: bytes | None
    ) -> tuple[bytes, Outcome | None]:
        """What is stored after a claim at `offset`: the highest claim, at the newest offset of its records. And the
        outcome if the claim is not higher than the one stored `before`."""
        if before is None:
            return packed(offset, value), None
        stored = StoredClaim.from_bytes(before)
        is_above = offset > stored.offset
        if claim.claim_order < stored.claim.claim_order:
            if is_above:
                self.write_back.add(key)
            return before, "superseded"
        if is_above:
            self.write_back.discard(key)
        if claim.claim_order > stored.claim.claim_order:
            return packed(max(offset, stored.offset), value), None
        return packed(offset, value) if is_above else before, "unchanged"

    def take_null(self, key: bytes, over: object, offset: int) -> bool:
        """Drop the stored claim because of a null at `offset`, unless the claim is newer than the one that the null is
        for. True if the claim was no retraction: the null is foreign, and the entity must be merged again."""
        stored = self.contributions.get(key)
        left = self._after_null(key, over, offset, stored)
        self.contributions.put(key, left)
        return stored is not None and left is None and not StoredClaim.from_bytes(stored).claim.retracted

    def _after_null(self, key: bytes, over: object, offset: int, stored: bytes | None) -> bytes | None:
        """What is stored after a null at `offset`. `over`: its header; a foreign null, without one, is for every claim
        below it."""
        if stored is None or offset_in(stored) > offset:
            return stored
        dropped = number_in(over)
        if dropped is None or offset_in(stored) <= dropped:
            self.write_back.discard(key)
            return None
        self.write_back.add(key)
        return stored

    def retracted_at(self, key: bytes, offset: int) -> bool:
        """Whether the claim stored under `key` is a retraction, and the record at `offset` its newest."""
        stored = self.contributions.get(key)
        if stored is None:
            return False
        claim = StoredClaim.from_bytes(stored)
        return claim.claim.retracted and claim.offset == offset

    def claims(self, entity_id: str) -> list[Contribution]:
        """All claims about an entity, retracted ones too."""
        found = self.contributions.scan(entity_prefix(entity_id))
        return [StoredClaim.from_bytes(value).claim for _, value in found]

    def newest_record(self, entity_id: str) -> Record:
        """The claim about an entity that was written last, as the record that it was read from."""
        key, stored = max(self.contributions.scan(entity_prefix(entity_id)), key=lambda pair: offset_in(pair[1]))
        return Record(*self.owned.at, offset_in(stored), key, contribution_in(stored), {}, 0)

    def due(self) -> list[str]:
        """The next entities to merge again; empty when none are left."""
        if self.everything:
            return self._next_of_all()
        return [self.touched.pop() for _ in range(min(SLICE_ENTITIES, len(self.touched)))]

    def _next_of_all(self) -> list[str]:
        """Entities in key order: first those with contributions, then those that only canonical contains."""
        found: dict[str, None] = {}
        for key, _ in self.contributions.scan(after=self.after):
            entity_id = entity_of(key)
            if entity_id not in found and len(found) == SLICE_ENTITIES:
                return list(found)
            found[entity_id] = None
            self.after = key
        if found:
            return list(found)
        keys = [key for key, _ in islice(self.canonical.scan(after=self.after_canonical), SLICE_ENTITIES)]
        if keys:
            self.after_canonical = keys[-1]
        else:
            self.everything = False
        return [key.decode() for key in keys]

    @property
    def pending(self) -> bool:
        return self.everything or bool(self.touched)


def rules_of(fingerprint: str, source_order: tuple[str, ...], canonical: LogStart) -> dict[str, str]:
    """What canonical records depend on in addition to claims: after a change everything is merged again. A canonical
    log that was re-created, or whose records were deleted, lacks what was merged before."""
    return {
        "contract": fingerprint,
        "sources": orjson.dumps(list(source_order)).decode(),
        "canonical": f"{canonical.topic_id}@{canonical.first}",
    }
