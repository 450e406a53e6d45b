"""One partition of one entity: which claims are held, which entities must be merged anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import OVER_HEADER
from sluice.kafka.record import Record, number_in
from sluice.provenance import Contribution
from sluice.stage.partition_record import LogStart
from sluice.stage.process import Owned
from sluice.state import View
from sluice.state.view import Stored
from sluice_merger.views import (
    HeldClaim,
    contribution_in,
    contribution_of,
    entity_id_of,
    entity_of,
    entity_prefix,
    offset_in,
    packed,
)

Verdict = Literal["newer", "equal", "older-above", "older"]

# Beyond so many touched entities a full pass over the partition costs less memory and hardly more time.
TOUCHED_MAX = 100_000
SLICE_ENTITIES = 500


@dataclass(slots=True)
class MergedPartition:
    """`drained`: nothing is left of what happened while nobody owned the partition; `draining`: so, once the open batch
    is durable. `rules_before`: those that what stands was merged by.

    `everything`: all entities must be looked at (rules changed, or too many touched), from `after` on."""

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
            return  # no contribution's key; it becomes a dead letter where it is consumed

    def touch_canonical(self, key: bytes) -> None:
        entity_id = entity_id_of(key)
        if entity_id is not None:
            self.touch(entity_id)

    def project(self, key: bytes, message: Message, held: Stored) -> bytes | None:
        """For restoring: the highest claim is kept, at the newest offset it was seen at."""
        value, offset = message.value(), message.offset() or 0
        stored = held()
        if value is None:
            return self._after_null(key, dict(message.headers() or ()).get(OVER_HEADER), offset, stored)
        try:
            claim = contribution_of(key, value)
        except DeadRecord:
            return stored  # no contribution; it becomes a dead letter where it is consumed
        if stored is None:
            return packed(offset, value)
        if claim.claim_order >= HeldClaim.from_bytes(stored).claim.claim_order:
            self.write_back.discard(key)
            return packed(offset, value)
        self.write_back.add(key)
        return stored

    def take(self, record: Record, claim: Contribution) -> Verdict:
        """Hold `claim`, read from `record`, if it is the highest of its key."""
        key, value, offset = record.key or b"", record.value or b"", record.offset
        stored = self.contributions.get(key)
        if stored is None:
            self.contributions.put(key, packed(offset, value))
            return "newer"
        held = HeldClaim.from_bytes(stored)
        if claim.claim_order < held.claim.claim_order:
            if offset <= held.offset:
                return "older"
            self.write_back.add(key)
            return "older-above"
        if offset > held.offset or claim.claim_order > held.claim.claim_order:
            self.contributions.put(key, packed(max(offset, held.offset), value))
        return "newer" if claim.claim_order > held.claim.claim_order else "equal"

    def take_null(self, key: bytes, over: object, offset: int) -> bool:
        """A null was read: the held claim goes, unless it is newer than what the null was meant for. Whether one went
        that was no retraction: then somebody else wrote the null, and the entity must be merged anew."""
        stored = self.contributions.get(key)
        left = self._after_null(key, over, offset, stored)
        self.contributions.put(key, left)
        return stored is not None and left is None and not HeldClaim.from_bytes(stored).claim.retracted

    def _after_null(self, key: bytes, over: object, offset: int, stored: bytes | None) -> bytes | None:
        """What is held behind a null at `offset`. `over` is its header; a stranger's, without one, means everything
        below it."""
        if stored is None or offset_in(stored) > offset:
            return stored
        meant = number_in(over)
        if meant is None or offset_in(stored) <= meant:
            self.write_back.discard(key)
            return None
        self.write_back.add(key)
        return stored

    def retracted_at(self, key: bytes, offset: int) -> bool:
        """Whether what is held of `key` is a retraction, and the record at `offset` its newest."""
        stored = self.contributions.get(key)
        if stored is None:
            return False
        held = HeldClaim.from_bytes(stored)
        return held.claim.retracted and held.offset == offset

    def claims(self, entity_id: str) -> list[Contribution]:
        """All claims held to an entity, retracted ones too."""
        found = self.contributions.scan(entity_prefix(entity_id))
        return [HeldClaim.from_bytes(value).claim for _, value in found]

    def newest_record(self, entity_id: str) -> Record:
        """The claim to an entity that was written last, as the record it was read from."""
        key, stored = max(self.contributions.scan(entity_prefix(entity_id)), key=lambda pair: offset_in(pair[1]))
        return Record(*self.owned.at, offset_in(stored), key, contribution_in(stored), {}, 0)

    def due(self) -> list[str]:
        """The next entities to merge anew; empty when there are none left."""
        if self.everything:
            return self._next_of_all()
        return [self.touched.pop() for _ in range(min(SLICE_ENTITIES, len(self.touched)))]

    def _next_of_all(self) -> list[str]:
        """Entities in key order: first those with contributions, then those that only stand in canonical."""
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
    """What canonical records depend on besides claims; another value means that everything is merged anew. A canonical
    log that was made again, or emptied, lacks what was merged before."""
    return {
        "contract": fingerprint,
        "sources": orjson.dumps(list(source_order)).decode(),
        "canonical": f"{canonical.topic_id}@{canonical.first}",
    }
