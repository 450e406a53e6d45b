"""The merger's two views: contributions as claims held with their offsets, canonical as what was last said.

Of a contribution key the *highest claim* is held, not the last record: an older claim met above it in the log is
noted, so that the merger can write the held one back.
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


class HeldClaim(NamedTuple):
    """The highest claim of a key, and the offset of its newest record in the log."""

    offset: int
    claim: Contribution

    @classmethod
    def from_bytes(cls, stored: bytes) -> HeldClaim:
        return cls(offset_in(stored), Contribution.from_json(contribution_in(stored)))


def packed(offset: int, value: bytes) -> bytes:
    """A held claim's stored form, of a contribution that need not be read for it."""
    return offset.to_bytes(_OFFSET_BYTES, "big") + value


def offset_in(stored: bytes) -> int:
    """The offset in a held claim's stored form."""
    return int.from_bytes(stored[:_OFFSET_BYTES], "big")


def contribution_in(stored: bytes) -> bytes:
    """The contribution's JSON in a held claim's stored form."""
    return stored[_OFFSET_BYTES:]


class Standing(NamedTuple):
    """What `canonical.<entity>` says of an entity now: content hash (None: deleted) and revision."""

    content: str | None
    revision: int

    def to_bytes(self) -> bytes:
        return orjson.dumps([self.content, self.revision])

    @classmethod
    def from_bytes(cls, stored: bytes | None) -> Standing:
        return cls(*orjson.loads(stored)) if stored else cls(None, 0)


def project_canonical(key: bytes, message: Message, held: Stored) -> bytes | None:
    """A canonical record's standing, from its headers. One without them reads as unknown content: it is rewritten.

    A key that is no entity id is a stranger's, and nothing to us.
    """
    if entity_id_of(key) is None:
        return None
    headers = dict(message.headers() or ())
    content = headers.get(CONTENT_HEADER)
    revision = number_in(headers.get(REVISION_HEADER)) or 0
    if message.value() is None:
        return Standing(None, revision).to_bytes()
    known = content.decode("utf-8", "replace") if isinstance(content, bytes) else "unknown"
    return Standing(known, revision).to_bytes()


def entity_id_of(key: bytes) -> str | None:
    """The entity that a canonical record is about; None where its key is not UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def contribution_of(key: bytes, value: bytes) -> Contribution:
    """The contribution in a record. Raises DeadRecord for what can never be held, whoever wrote it."""
    if len(key) + len(value) > OUTPUT_BYTES_MAX:
        # It could not be written back above an older one.
        raise DeadRecord("contribution-too-large", f"it exceeds {OUTPUT_BYTES_MAX} bytes")
    claim = Contribution.from_json(value)
    if claim.key != key:
        raise DeadRecord("bad-key", "the key is not that of the contribution")
    try:
        orjson.dumps(claim.fields)
    except TypeError:  # nested, or a number, beyond what can be written
        raise DeadRecord("bad-contribution", "its fields cannot be written again") from None
    return claim


def entity_prefix(entity_id: str) -> bytes:
    """What every contribution key of an entity begins with."""
    return orjson.dumps([entity_id])[:-1] + b","


def entity_of(key: bytes) -> str:
    return str(orjson.loads(key)[0])
