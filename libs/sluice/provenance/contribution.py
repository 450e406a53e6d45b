"""Contributions: what one source record says about one entity, as a record of the topic `contributions.<entity>`.

The mapper writes contributions. The merger stores the contributions to each entity and chooses among them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import msgspec
import orjson
from msgspec.structs import asdict

from sluice.canonical_json import canonical_bytes
from sluice.errors import DeadRecord
from sluice.position import Position

# An integer of 64 bits. The merger compares, sorts and encodes contributions, so it checks the types in the
# records of every writer.
Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class RawRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The place of a raw record in Kafka. If a dead letter was redriven, it is the place of the original record."""

    topic: str
    partition: Number
    offset: Number

    @property
    def at(self) -> tuple[str, int]:
        """The partition that contains the raw record: its topic and number."""
        return self.topic, self.partition

    @property
    def place(self) -> str:
        """The place of the raw record as text, `topic/partition@offset`."""
        return f"{self.topic}/{self.partition}@{self.offset}"


class ClaimOrder(NamedTuple):
    """The sort key of contributions with the same contribution key. A lower one loses; an equal one changes nothing."""

    position: Position
    mapping_version: int
    retracted: bool


class Contribution(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source record claims about one entity, with the claim's provenance. Times are Unix microseconds.

    The members are named as in the JSON of the Kafka record. `fields`: JSON values, as the entity's contract encodes
    them. `content`: the hash of the claim, empty before `sealed` is called.
    """

    entity_id: str
    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: Number
    output: str
    position: Position
    raw: RawRef
    observed_at: Number
    effective_at: Number | None
    contract: Number
    fields: Mapping[str, Any]
    retracted: bool
    content: str = ""

    @property
    def claim_order(self) -> ClaimOrder:
        return ClaimOrder(self.position, self.mapping_version, self.retracted)

    @property
    def key(self) -> bytes:
        """The Kafka key of the contribution's record."""
        return contribution_key(self.entity_id, self.source, self.stream, self.source_key, self.mapping, self.output)

    def sealed(self) -> Self:
        """A copy of this contribution with its content hash."""
        return self.replace(content=contribution_content(self.fields, self.effective_at, self.retracted))

    def replace(self, **members: Any) -> Self:
        """A copy of this contribution in which `members` are replaced."""
        return msgspec.structs.replace(self, **members)

    def to_json(self) -> bytes:
        """The contribution as canonical JSON, which is the value of its Kafka record."""
        return canonical_bytes({**asdict(self), "position": list(self.position), "raw": asdict(self.raw)})

    @classmethod
    def from_json(cls, value: bytes) -> Contribution:
        """The contribution in a Kafka value. Raises DeadRecord (bad-contribution) if the value is not a
        contribution."""
        try:
            return _DECODER.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise DeadRecord("bad-contribution", "the value is not a contribution's JSON") from None


_DECODER = msgspec.json.Decoder(Contribution)


def contribution_key(entity_id: str, source: str, stream: str, source_key: str, mapping: str, output: str) -> bytes:
    """The Kafka key of a contribution: a UTF-8 JSON array without spaces.

    The source key, which is JSON itself, is a string in this array.
    """
    return orjson.dumps([entity_id, source, stream, source_key, mapping, output])


def contribution_content(fields: Mapping[str, Any], effective_at: int | None, retracted: bool) -> str:
    """The SHA-256 of a claim as 64 hex digits. Fields, effective time and retraction count, provenance does not."""
    claimed = {"fields": dict(fields), "effective_at": effective_at, "retracted": retracted}
    return hashlib.sha256(canonical_bytes(claimed)).hexdigest()
