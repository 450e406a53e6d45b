"""The merger's two views: contributions as claims held with their offsets, canonical as what was last said.

Of a contribution key the *highest claim* is held, not the last record: an older claim met above it in the log is
noted, so that the merger can write the held one back.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson
from confluent_kafka import Message

from sluice.position import Position
from sluice.provenance import Contribution
from sluice.state.view import Held

_OFFSET_BYTES = 8


class HeldClaim(NamedTuple):
    """The highest claim of a key, and the offset of its newest record in the log."""

    offset: int
    claim: Contribution

    def to_bytes(self) -> bytes:
        return packed(self.offset, self.claim.to_json())

    @classmethod
    def from_bytes(cls, stored: bytes) -> HeldClaim:
        return cls(int.from_bytes(stored[:_OFFSET_BYTES], "big"), Contribution.from_json(contribution_in(stored)))


def packed(offset: int, value: bytes) -> bytes:
    """A held claim's stored form, of a contribution that need not be read for it."""
    return offset.to_bytes(_OFFSET_BYTES, "big") + value


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


CONTENT_HEADER = "sluice-content"
REVISION_HEADER = "sluice-revision"
OVER_HEADER = "sluice-over"
"""On a null in contributions: the offset of the retraction that it drops. A claim made meanwhile is not meant."""


def drops(over: bytes | None, stored: bytes) -> bool:
    """Whether a null with this header is meant for the held claim; one that somebody else wrote, without it, always."""
    return over is None or int.from_bytes(stored[:_OFFSET_BYTES], "big") <= int(over)


def project_canonical(key: bytes, message: Message, held: Held) -> bytes | None:
    """A canonical record's standing, from its headers. One without them reads as unknown content: it is rewritten."""
    headers = dict(message.headers() or ())
    content = headers.get(CONTENT_HEADER)
    revision = int(headers.get(REVISION_HEADER) or b"0")
    if message.value() is None:
        return Standing(None, revision).to_bytes()
    return Standing(content.decode() if isinstance(content, bytes) else "unknown", revision).to_bytes()


def order_of(value: bytes) -> tuple[Position, int, bool]:
    """The claim order of a contribution's JSON, without building the rest of it."""
    members = orjson.loads(value)
    return Position(*members["position"]), members["mapping_version"], members["retracted"]


def entity_prefix(entity_id: str) -> bytes:
    """What every contribution key of an entity begins with."""
    return orjson.dumps([entity_id])[:-1] + b","


def entity_of(key: bytes) -> str:
    return str(orjson.loads(key)[0])
