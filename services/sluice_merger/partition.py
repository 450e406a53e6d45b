"""One partition of the contributions to one entity type: its current claims, and the entities to merge again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import OVER_HEADER
from sluice.kafka.record import Record, number_in
from sluice.provenance import Contribution
from sluice.stage.ledger import Outcome
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

# With more touched entities than this, merging all entities needs less memory and hardly more time.
TOUCHED_MAX = 100_000
SLICE_ENTITIES = 500


@dataclass(slots=True)
class MergedPartition:
    """`drained`: every entity that changed while the partition had no owner is merged again; `draining`: becomes
    `drained` when the open batch commits. `fingerprints_before`: the fingerprints with which the canonical records
    were merged.

    `touched`: the entities to merge again. `everything`: all entities must be merged again, because the fingerprints
    changed or too many entities are touched. Then `after` and `after_canonical` are the last keys of contributions and
    of canonical that were merged. `write_back`: the keys whose stored claim must be written again, above an older claim
    in the log.
    """

    owned: Owned
    contributions: View
    canonical: View
    touched: set[str] = field(default_factory=set)
    write_back: set[bytes] = field(default_factory=set)
    everything: bool = False
    after: bytes = b""
    after_canonical: bytes = b""
    fingerprints: dict[str, str] = field(default_factory=dict)
    fingerprints_before: dict[str, str] = field(default_factory=dict)
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
            return  # not the key of a contribution; `Merger.handle` raises DeadRecord for the record

    def touch_canonical(self, key: bytes) -> None:
        entity_id = entity_id_of(key)
        if entity_id is not None:
            self.touch(entity_id)

    def project(self, key: bytes, message: Message, stored: Stored) -> bytes | None:
        """The projection of the contributions view: the value to store under `key` after `message`, None to drop it.

        `stored()` returns the value that is stored before `message`.
        """
        value, offset = message.value(), message.offset() or 0
        if value is None:
            return self._after_null(key, dict(message.headers() or ()).get(OVER_HEADER), offset, stored())
        try:
            claim = contribution_of(key, value)
        except DeadRecord:
            return stored()  # `Merger.handle` reads the record again and raises DeadRecord
        return self._after_claim(key, value, offset, claim, stored())[0]

    def take(self, record: Record, claim: Contribution) -> Outcome | None:
        """Store `claim`, read from `record`, if it is the highest claim of its key.

        Returns the record's outcome if the claim changes nothing, or None if the entity must be merged again.
        """
        key, value = record.key or b"", record.value or b""
        before = self.contributions.get(key)
        after, outcome = self._after_claim(key, value, record.offset, claim, before)
        if after is not before:
            self.contributions.put(key, after)
        return outcome

    def _after_claim(
        self, key: bytes, value: bytes, offset: int, claim: Contribution, before: bytes | None
    ) -> tuple[bytes, Outcome | None]:
        """The value to store after `claim`, read at `offset`, and the outcome of its record.

        The value is the highest claim with the newest offset of the records that contain it. The outcome is None if
        `claim` is higher than the claim stored `before`.
        """
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
        """Drop the stored claim of `key` because of a null at `offset`, unless the null is for an older claim.

        `over`: the null's header with the offset of the record that it replaces. Returns True if the dropped claim was
        no retraction: then the null is foreign, and the entity must be merged again.
        """
        stored = self.contributions.get(key)
        left = self._after_null(key, over, offset, stored)
        self.contributions.put(key, left)
        return stored is not None and left is None and not StoredClaim.from_bytes(stored).claim.retracted

    def _after_null(self, key: bytes, over: object, offset: int, stored: bytes | None) -> bytes | None:
        """The value to store after a null at `offset`. `over`: the null's header with the offset that it replaces.

        A null of the merger deletes a claim up to that offset. A foreign null, without the header, deletes any claim
        below the null.
        """
        if stored is None or offset_in(stored) > offset:
            return stored
        dropped = number_in(over)
        if dropped is None or offset_in(stored) <= dropped:
            self.write_back.discard(key)
            return None
        self.write_back.add(key)
        return stored

    def retracted_at(self, key: bytes, offset: int) -> bool:
        """Whether the claim stored under `key` is a retraction, and `offset` is the offset of its newest record."""
        stored = self.contributions.get(key)
        if stored is None:
            return False
        claim = StoredClaim.from_bytes(stored)
        return claim.claim.retracted and claim.offset == offset

    def claims(self, entity_id: str) -> list[Contribution]:
        """All stored claims about an entity, including the retracted ones."""
        found = self.contributions.scan(entity_prefix(entity_id))
        return [StoredClaim.from_bytes(value).claim for _, value in found]

    def newest_record(self, entity_id: str) -> Record:
        """The record of the stored claim about an entity that has the highest offset."""
        key, stored = max(self.contributions.scan(entity_prefix(entity_id)), key=lambda pair: offset_in(pair[1]))
        return Record(*self.owned.at, offset_in(stored), key, contribution_in(stored), {}, 0)

    def due(self) -> list[str]:
        """The ids of at most `SLICE_ENTITIES` entities to merge again. An empty slice means that none are left, unless
        `pending` is still true."""
        if self.everything:
            return self._next_of_all()
        return [self.touched.pop() for _ in range(min(SLICE_ENTITIES, len(self.touched)))]

    def _next_of_all(self) -> list[str]:
        """The next slice of all entities in key order: first those with contributions, then those of canonical."""
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


def fingerprints_of(fingerprint: str, source_order: tuple[str, ...], canonical: LogStart) -> dict[str, str]:
    """What canonical records depend on in addition to claims, by name. If one changes, all entities are merged.

    The canonical log's topic id and first offset belong to it: a log that was re-created, or whose records were
    deleted, lacks records that were merged before.
    """
    return {
        "contract": fingerprint,
        "sources": orjson.dumps(list(source_order)).decode(),
        "canonical": f"{canonical.topic_id}@{canonical.first}",
    }
