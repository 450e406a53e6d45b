"""A contribution: what one source record says about one entity, as it stands in `contributions.<entity>`.

The mapper writes it, the merger holds all of an entity's and chooses among them.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import msgspec
import orjson

from sluice.canonical_json import canonical_bytes
from sluice.errors import DeadRecord
from sluice.position import Position


class RawRef(NamedTuple):
    """Where the raw record stands; always the original place, also after a redrive."""

    topic: str
    partition: int
    offset: int


class ClaimOrder(NamedTuple):
    """The order of claims of one key: lower loses, equal is no change."""

    position: Position
    mapping_version: int
    retracted: bool


class Contribution(NamedTuple):
    """One claim with its provenance. Times are microseconds UTC; `fields` are JSON as the contract encodes them."""

    entity_id: str
    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: int
    output: str
    position: Position
    raw: RawRef
    observed_at: int
    effective_at: int | None
    contract: int
    fields: Mapping[str, Any]
    retracted: bool
    content: str = ""

    @property
    def claim_order(self) -> ClaimOrder:
        return ClaimOrder(self.position, self.mapping_version, self.retracted)

    @property
    def key(self) -> bytes:
        """The Kafka key of the record."""
        return contribution_key(self.entity_id, self.source, self.stream, self.source_key, self.mapping, self.output)

    def sealed(self) -> Self:
        """The same contribution with its content hash."""
        return self._replace(content=contribution_content(self.fields, self.effective_at, self.retracted))

    def to_json(self) -> bytes:
        """Canonical JSON: the Kafka value."""
        return canonical_bytes({**self._asdict(), "position": list(self.position), "raw": self.raw._asdict()})

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """Read a Kafka value. Raises DeadRecord (bad-contribution) for anything that is not one."""
        try:
            read = _DECODER.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise DeadRecord("bad-contribution", "the value is not a contribution's JSON") from None
        position, raw = Position(*read.position), RawRef(read.raw.topic, read.raw.partition, read.raw.offset)
        return cls(
            read.entity_id,
            read.source,
            read.stream,
            read.source_key,
            read.mapping,
            read.mapping_version,
            read.output,
            position,
            raw,
            read.observed_at,
            read.effective_at,
            read.contract,
            read.fields,
            read.retracted,
            read.content,
        )


# Whoever writes into the topic, what the merger holds has these types: it compares, sorts and encodes them.
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: _Number
    offset: _Number


class _Members(msgspec.Struct, forbid_unknown_fields=True):
    entity_id: str
    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: _Number
    output: str
    position: tuple[_Number, _Number, _Number]
    raw: _Raw
    observed_at: _Number
    effective_at: _Number | None
    contract: _Number
    fields: dict[str, Any]
    retracted: bool
    content: str = ""


_DECODER = msgspec.json.Decoder(_Members)


def contribution_key(entity_id: str, source: str, stream: str, source_key: str, mapping: str, output: str) -> bytes:
    """UTF-8 JSON array without spaces; the source key stands in it as a string."""
    return orjson.dumps([entity_id, source, stream, source_key, mapping, output])


def contribution_content(fields: Mapping[str, Any], effective_at: int | None, retracted: bool) -> str:
    """Hash of what a contribution claims: 64 hex digits. Position, version and provenance are not in it."""
    claimed = {"fields": dict(fields), "effective_at": effective_at, "retracted": retracted}
    return hashlib.sha256(canonical_bytes(claimed)).hexdigest()
