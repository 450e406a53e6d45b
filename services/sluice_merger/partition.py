"""One partition of the contributions to one entity type: its current claims, and the entities to merge again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import OVER_HEADER
from sluice.kafka.record import Record, number_in, record_of
from sluice.provenance import Contribution, Survivorship
from sluice.stage.ledger import Outcome
from sluice.stage.partition_record import LogStart
from sluice.stage.process import Owned
from sluice.state import View
from sluice_merger.claims import EntityClaims, StoredClaim, entity_ids, row_key
from sluice_merger.records import (
    CanonicalVersion,
    canonical_version,
    contribution_of,
    entity_id_of_canonical_key,
    entity_id_of_contribution_key,
)

# With more touched entities than this, merging all entities needs less memory and hardly more time.
TOUCHED_MAX = 100_000
SLICE_ENTITIES = 500


class ReadRecord(NamedTuple):
    """A record of contributions about one entity. `claim`: the contribution in it; None if its value is null."""

    record: Record
    claim: Contribution | None


def read_record(record: Record) -> tuple[str, ReadRecord] | None:
    """The entity that `record` is about, and what it contains. None for a null that is about no entity.

    Raises DeadRecord if the record is no contribution.
    """
    key, value = record.key, record.value
    if key is None:
        raise DeadRecord("no-key", "a contribution has a key")
    if value is None:
        entity_id = entity_id_of_contribution_key(key)
        return None if entity_id is None else (entity_id, ReadRecord(record, None))
    claim = contribution_of(key, value)
    return claim.entity_id, ReadRecord(record, claim)


@dataclass(slots=True)
class MergerPartition:
    """One partition of contributions that this process owns, with the same partition of canonical.

    `drained`: every entity that changed while the partition had no owner is merged again; `draining`: becomes
    `drained` when the open batch commits. `fingerprints_before`: the fingerprints with which the canonical records
    were merged.

    `touched`: the entities to merge again. `everything`: all entities must be merged again, because the fingerprints
    changed or too many entities are touched. Then `after` and `after_canonical` are the last keys of the two views that
    were merged. `write_back`: the key and the entity of each stored claim that must be written again, above an older
    claim in the log.
    """

    owned: Owned
    rules: Survivorship
    contributions: View
    canonical: View
    touched: set[str] = field(default_factory=set)
    write_back: dict[bytes, str] = field(default_factory=dict)
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

    def restore_contributions(self, messages: list[Message]) -> None:
        """Put the contributions in `messages` into their view."""
        by_entity: dict[str, list[ReadRecord]] = {}
        for message in messages:
            try:
                read = read_record(record_of(message))
            except DeadRecord:
                continue  # `Merger.handle` reads the record again and raises DeadRecord
            if read is not None:
                by_entity.setdefault(read[0], []).append(read[1])
        for claims in self.load(sorted(by_entity)):
            for one in by_entity[claims.entity_id]:
                self.take(claims, one)
            claims.save()
            self.touch(claims.entity_id)

    def restore_canonical(self, messages: list[Message]) -> None:
        """Put the versions of the canonical records in `messages` into their view. A foreign record, whose key is not
        UTF-8, is not stored."""
        for message in messages:
            key = message.key() or b""
            entity_id = entity_id_of_canonical_key(key)
            if entity_id is not None:
                self.canonical.put(key, canonical_version(message).to_bytes())
                self.touch(entity_id)

    def load(self, ids: list[str]) -> list[EntityClaims]:
        """The claims about each of the entities `ids`. Sorted ids are read fastest."""
        return EntityClaims.load(self.contributions, ids)

    def read_versions(self, entities: list[EntityClaims]) -> None:
        """Read the versions of the canonical records of `entities`, and set `version` of each."""
        stored = self.canonical.get_many([claims.entity_id.encode() for claims in entities])
        for claims, version in zip(entities, stored, strict=True):
            claims.set_version(CanonicalVersion.from_bytes(version))

    def take(self, claims: EntityClaims, read: ReadRecord) -> Outcome | None:
        """Change the claims about an entity as `read` says.

        Returns the record's outcome if the claims do not change, or None if the record is accepted: then `claims` says
        whether the entity must be merged (`unmerged`).
        """
        record, claim = read
        if claim is None:
            return self._take_null(claims, record)
        after = StoredClaim.of(record.key or b"", record.offset, claim)
        before = claims.get(after.key)
        if before is None:
            claims.put(after, claim)
            claims.mark_unmerged()
            return None
        is_above = after.offset > before.offset
        if after.order < before.order:
            # Compaction keeps the last record of a key, which must be the highest claim.
            if is_above:
                self.write_back[after.key] = claims.entity_id
            return "superseded"
        if is_above:
            self.write_back.pop(after.key, None)
        is_higher = after.order > before.order
        if is_higher or is_above:
            claims.put(after if is_above else after.moved_to(before.offset), claim)
            if not (after.claims_the_same(before) or self._wins_nothing(claims, before, claim)):
                claims.mark_unmerged()
        return None if is_higher else "unchanged"

    def _wins_nothing(self, claims: EntityClaims, before: StoredClaim, claim: Contribution) -> bool:
        """Whether the canonical record contains nothing of `before`, nor of `claim`, which replaces it, because other
        claims win all of its fields. This check costs 2 µs, a merge 9 µs."""
        if claim.source in self.rules.first_sources:
            return False
        given = (claim.source, *claim.fields)
        others = claims.source_and_names_of_others(before.key)
        return bool(others) and given == before.source_and_names and self.rules.wins_nothing(given, others or ())

    def _take_null(self, claims: EntityClaims, record: Record) -> Outcome | None:
        """A null of the merger (it names the offset that it replaces) drops a claim up to that offset. A foreign null,
        without this header, drops any claim below the null, and the entity must be merged again."""
        key = record.key or b""
        before = claims.get(key)
        if before is None or before.offset > record.offset:
            return "unchanged"
        over = number_in(record.headers.get(OVER_HEADER))
        if over is not None and before.offset > over:
            self.write_back[key] = claims.entity_id
            return "unchanged"
        self.write_back.pop(key, None)
        claims.drop(key)
        if before.retracted:
            return "unchanged"
        claims.mark_unmerged()
        return None

    def record_of(self, claim: StoredClaim) -> Record:
        """The record of a stored claim."""
        return Record(*self.owned.at, claim.offset, claim.key, claim.to_json(), {}, 0)

    def due(self) -> list[str]:
        """The ids of at most `SLICE_ENTITIES` entities to merge again. An empty slice means that none are left, unless
        `pending` is still true."""
        if self.everything:
            return self._next_of_all()
        return sorted(self.touched.pop() for _ in range(min(SLICE_ENTITIES, len(self.touched))))

    def _next_of_all(self) -> list[str]:
        """The next slice of all entities in order: first those with contributions, then those of canonical."""
        found = list(islice(entity_ids(self.contributions, self.after), SLICE_ENTITIES))
        if found:
            self.after = row_key(found[-1])
            return found
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
