"""The stored claims about one entity: the highest claim of each contribution key.

The claims are one row of the merger's local view, so that one read of the store finds all of them: with 300,000
entities on disk, a read of sorted keys costs 8 µs, and a scan 20 µs. An entity with many claims has one row for each,
because each change would write all of them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from sluice.position import Position
from sluice.provenance import Contribution, RawRef, SourceAndNames
from sluice.state import View
from sluice_merger.records import CanonicalVersion, key_prefix

LAYOUT = "rows-2"
# An entity with more claims than this, or with more bytes, has one row for each claim.
ROW_CLAIMS_MAX = 16
ROW_BYTES_MAX = 64 * 1024
# The first byte of a key in the view: an entity's row, or one claim of an entity with many.
_ENTITY = b"e"
_CLAIM = b"c"


class StoredClaim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The highest claim of a contribution key. `offset`: the offset of the newest record that contains this claim.
    `fields`: the claimed fields in MessagePack.

    What the key contains is not stored again, and the content hash is computed again if it is needed: RocksDB's
    compactions write each byte of a row about ten times. Half of the bytes save 12 µs for each change.
    """

    key: bytes
    offset: int
    position: Position
    mapping_version: int
    retracted: bool
    effective_at: int | None
    fields: msgspec.Raw
    raw: tuple[str, int, int]
    observed_at: int
    contract: int

    @classmethod
    def of(cls, key: bytes, offset: int, claim: Contribution) -> StoredClaim:
        raw = claim.raw
        return cls(
            key,
            offset,
            claim.position,
            claim.mapping_version,
            claim.retracted,
            claim.effective_at,
            msgspec.Raw(_encode(claim.fields)),
            (raw.topic, raw.partition, raw.offset),
            claim.observed_at,
            claim.contract,
        )

    @property
    def order(self) -> tuple[Position, int, bool]:
        """The sort key of claims with the same contribution key, as `ClaimOrder`."""
        return self.position, self.mapping_version, self.retracted

    def moved_to(self, offset: int) -> StoredClaim:
        """This claim as the record at `offset` contains it."""
        return msgspec.structs.replace(self, offset=offset)

    def claims_the_same(self, other: StoredClaim) -> bool:
        """Whether both state the same fields, byte for byte, at the same effective time, or are both retractions."""
        return (
            self.fields == other.fields
            and self.effective_at == other.effective_at
            and self.retracted == other.retracted
        )

    @property
    def source_and_names(self) -> SourceAndNames:
        return orjson.loads(self.key)[1], *_decode_fields(self.fields)

    @property
    def contribution(self) -> Contribution:
        """The contribution without its content hash."""
        entity_id, source, stream, source_key, mapping, output = orjson.loads(self.key)
        return Contribution(
            entity_id=entity_id,
            source=source,
            stream=stream,
            source_key=source_key,
            mapping=mapping,
            mapping_version=self.mapping_version,
            output=output,
            position=self.position,
            raw=RawRef(*self.raw),
            observed_at=self.observed_at,
            effective_at=self.effective_at,
            contract=self.contract,
            fields=_decode_fields(self.fields),
            retracted=self.retracted,
        )

    def to_json(self) -> bytes:
        """The value of the contribution's Kafka record."""
        return self.contribution.sealed().to_json()


class _Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`claims`: None if each claim has its own row. `version`: None if it is not known."""

    unmerged: bool
    claims: list[StoredClaim] | None
    version: CanonicalVersion | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_Row).decode
_decode_fields = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_claim = msgspec.msgpack.Decoder(StoredClaim).decode


class EntityClaims:
    """The claims about the entity `entity_id` in `view`, as of the open batch. Changes are put into the view by `save`.

    `version`: the version of the newest canonical record when these claims were merged last; None if they were not.
    While the partition is drained, the canonical view contains the same, so that it need not be read.
    `unmerged`: the newest canonical record may differ from the merge of these claims, because the result of the merge
    could not be published, or because a claim was replaced without a merge.
    `saved_bytes`: the size of the row that `save` put into the view.
    """

    __slots__ = ("_changed", "_decoded", "_row", "_view", "entity_id", "saved_bytes", "unmerged", "version")

    def __init__(self, view: View, entity_id: str, stored: bytes | None) -> None:
        self.entity_id = entity_id
        self._view = view
        self._row: dict[bytes, StoredClaim] | None = {}  # by contribution key; None if each claim has its own row
        self._decoded: dict[bytes, Contribution] = {}
        self._changed = self.unmerged = False
        self.saved_bytes = 0
        self.version: CanonicalVersion | None = None
        if stored is not None:
            row = _decode_row(stored)
            self.unmerged, self.version = row.unmerged, row.version
            self._row = None if row.claims is None else {claim.key: claim for claim in row.claims}

    @classmethod
    def load(cls, view: View, entity_ids: list[str]) -> list[EntityClaims]:
        """The claims about each of `entity_ids`. Sorted ids are read fastest."""
        rows = view.get_many([row_key(entity_id) for entity_id in entity_ids])
        return [cls(view, entity_id, row) for entity_id, row in zip(entity_ids, rows, strict=True)]

    def get(self, key: bytes) -> StoredClaim | None:
        if self._row is not None:
            return self._row.get(key)
        stored = self._view.get(_CLAIM + key)
        return None if stored is None else _decode_claim(stored)

    def put(self, claim: StoredClaim, decoded: Contribution | None = None) -> None:
        """Store `claim`. `decoded`: the contribution in it, if the caller has decoded it."""
        if decoded is not None:
            self._decoded[claim.key] = decoded
        if self._row is None:
            self._view.put(_CLAIM + claim.key, _encode(claim))
        else:
            self._row[claim.key] = claim
            self._changed = True

    def drop(self, key: bytes) -> None:
        if self._row is None:
            self._view.put(_CLAIM + key, None)
        elif self._row.pop(key, None) is not None:
            self._changed = True

    def source_and_names_of_others(self, key: bytes) -> tuple[SourceAndNames, ...] | None:
        """Source and names of each current claim except that of `key` and the retracted ones. None if each claim has
        its own row, because to read all of them costs more than it saves."""
        if self._row is None:
            return None
        return tuple([one.source_and_names for one in self._row.values() if one.key != key and not one.retracted])

    def contributions(self) -> list[Contribution]:
        """All current claims, the retracted ones included."""
        decoded = self._decoded
        return [decoded.get(one.key) or one.contribution for one in self._all()]

    def newest(self) -> StoredClaim:
        """The claim whose record has the highest offset. Raises ValueError if there is no claim."""
        return max(self._all(), key=lambda claim: claim.offset)

    def _all(self) -> Iterator[StoredClaim]:
        if self._row is not None:
            return iter(self._row.values())
        return (_decode_claim(stored) for _, stored in self._view.scan(_CLAIM + key_prefix(self.entity_id)))

    def set_version(self, version: CanonicalVersion) -> None:
        """Called before a merge, with the version that the canonical view contains. An older version may be stored: the
        canonical record may have changed without these claims, by other rules, while another process had them."""
        self._changed = self._changed or version != self.version
        self.version = version

    def mark_unmerged(self) -> None:
        self._changed = self._changed or not self.unmerged
        self.unmerged = True

    def mark_merged(self, version: CanonicalVersion) -> None:
        """Called when the claims are merged. `version`: that of the canonical record, which the merge may have
        written."""
        self._changed = self._changed or self.unmerged or version != self.version
        self.unmerged, self.version = False, version

    def save(self) -> None:
        """Put the changes into the view."""
        if not self._changed:
            return
        self._changed = False
        row = self._row
        if row is not None and len(row) > 1 and self._too_large(row):
            for claim in row.values():
                self._view.put(_CLAIM + claim.key, _encode(claim))
            row = self._row = None
        claims = None if row is None else list(row.values())
        value = None if claims == [] and not self.unmerged else _encode(_Row(self.unmerged, claims, self.version))
        self._view.put(row_key(self.entity_id), value)
        self.saved_bytes += len(value or b"")

    @staticmethod
    def _too_large(row: dict[bytes, StoredClaim]) -> bool:
        return len(row) > ROW_CLAIMS_MAX or sum(len(claim.fields) for claim in row.values()) > ROW_BYTES_MAX


def row_key(entity_id: str) -> bytes:
    """The key of an entity's row in the view."""
    return _ENTITY + entity_id.encode()


def entity_ids(view: View, after: bytes) -> Iterator[str]:
    """The ids of all entities that have a row, in the order of their bytes. `after`: the row key of the entity that
    comes before the first one; empty for all entities."""
    for key, _ in view.scan(_ENTITY, after):
        yield key[len(_ENTITY) :].decode()
