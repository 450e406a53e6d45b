"""The values in the merger's two views: each contribution key's highest claim, each entity's canonical version.

The view stores the *highest claim* of a key, which is not always the last record of the key. If an older claim follows
the highest one in the log, the merger writes the highest claim again.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka.record import number_in
from sluice.provenance import Contribution
from sluice.stage.batch import OUTPUT_BYTES_MAX
from sluice.state.view import Stored

_OFFSET_BYTES = 8


class StoredClaim(NamedTuple):
    """The highest claim of a key, and the offset of the newest record that contains this claim."""

    offset: int
    claim: Contribution

    @classmethod
    def from_bytes(cls, stored: bytes) -> StoredClaim:
        return cls(offset_in(stored), Contribution.from_json(contribution_in(stored)))


def packed(offset: int, value: bytes) -> bytes:
    """The stored form of a claim: the offset, then the contribution's JSON."""
    return offset.to_bytes(_OFFSET_BYTES, "big") + value


def offset_in(stored: bytes) -> int:
    """The offset in the stored form of a claim."""
    return int.from_bytes(stored[:_OFFSET_BYTES], "big")


def contribution_in(stored: bytes) -> bytes:
    """The contribution's JSON in the stored form of a claim."""
    return stored[_OFFSET_BYTES:]


class CanonicalVersion(NamedTuple):
    """Content hash (None for a tombstone) and revision of an entity's newest canonical record."""

    content: str | None
    revision: int

    def to_bytes(self) -> bytes:
        return orjson.dumps([self.content, self.revision])

    @classmethod
    def from_bytes(cls, stored: bytes | None) -> CanonicalVersion:
        return cls(*orjson.loads(stored)) if stored else cls(None, 0)


def project_canonical(key: bytes, message: Message, stored: Stored) -> bytes | None:
    """The projection of the canonical view: the version of a canonical record, read from the record's headers.

    Without headers the content counts as unknown, so that the record is written again. A foreign record, whose key is
    not UTF-8, is not stored.
    """
    if entity_id_of(key) is None:
        return None
    headers = dict(message.headers() or ())
    content = headers.get(CONTENT_HEADER)
    revision = number_in(headers.get(REVISION_HEADER)) or 0
    if message.value() is None:
        return CanonicalVersion(None, revision).to_bytes()
    known = content.decode("utf-8", "replace") if isinstance(content, bytes) else "unknown"
    return CanonicalVersion(known, revision).to_bytes()


def entity_id_of(key: bytes) -> str | None:
    """The entity id in the key of a canonical record; None if the key is not UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def contribution_of(key: bytes, value: bytes) -> Contribution:
    """The contribution in a record. Raises DeadRecord if it is malformed, or if the merger could not write it again."""
    if len(key) + len(value) > OUTPUT_BYTES_MAX:
        # The merger could not write it again above an older claim.
        raise DeadRecord("contribution-too-large", f"it exceeds {OUTPUT_BYTES_MAX} bytes")
    claim = Contribution.from_json(value)
    if claim.key != key:
        raise DeadRecord("bad-key", "the key is not that of the contribution")
    try:
        orjson.dumps(claim.fields)
    except TypeError:  # the fields are nested too deeply, or a number is too large, for the JSON encoder
        raise DeadRecord("bad-contribution", "its fields cannot be written again") from None
    return claim


def entity_prefix(entity_id: str) -> bytes:
    """The bytes with which every contribution key of an entity starts."""
    return orjson.dumps([entity_id])[:-1] + b","


def entity_of(key: bytes) -> str:
    return str(orjson.loads(key)[0])
