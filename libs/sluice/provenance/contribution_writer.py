"""Writes contributions whose fields are encoded already: the hot path of the mapper.

`Contribution.sealed`, `key` and `to_json` are the reference implementation: a test compares the bytes of both. Measured
for a claim with nine fields: 2 µs instead of 12.
"""

from __future__ import annotations

import hashlib

import msgspec

from sluice.position import Position
from sluice.provenance.contribution import contribution_content

_encode = msgspec.json.Encoder().encode
_START_WITHOUT_TIME = b'{"effective_at":null,"fields":'
_RETRACTED = contribution_content({}, None, True)


class Origin(msgspec.Struct, frozen=True):
    """The members that all contributions of one raw record share. `offset`: the offset of the raw record.

    `observed_at`: Unix microseconds.
    """

    source_key: str
    position: Position
    offset: int
    observed_at: int


class _Raw(msgspec.Struct, gc=False):
    """`RawRef` with its members in the order of canonical JSON, which is the order of their names."""

    offset: int
    partition: int
    topic: str


class _Value(msgspec.Struct, gc=False):
    """`Contribution` with its members in the order of canonical JSON, and with encoded fields."""

    content: str
    contract: int
    effective_at: int | None
    entity_id: str
    fields: msgspec.Raw
    mapping: str
    mapping_version: int
    observed_at: int
    output: str
    position: Position
    raw: _Raw
    retracted: bool
    source: str
    source_key: str
    stream: str


class ContributionWriter:
    """Writes the contributions that one version of a mapping creates from the records of one raw partition."""

    def __init__(
        self, source: str, stream: str, raw_partition: tuple[str, int], mapping: str, version: int, contract: int
    ) -> None:
        """`contract`: the version of the entity's contract."""
        self._source, self._stream = source, stream
        self._topic, self._partition = raw_partition
        self._mapping, self._version, self._contract = mapping, version, contract

    def write(
        self, origin: Origin, entity_id: str, output: str, fields: bytes | None, effective_at: int | None
    ) -> tuple[bytes, bytes]:
        """Key and value of a claim, or of a retraction if `fields` is None.

        `fields`: canonical JSON. `effective_at`: Unix microseconds, None for a retraction.
        """
        source, stream, mapping, source_key = self._source, self._stream, self._mapping, origin.source_key
        if retracted := fields is None:
            content, fields = _RETRACTED, b"{}"
        else:
            start = _START_WITHOUT_TIME if effective_at is None else b'{"effective_at":%d,"fields":' % effective_at
            content = hashlib.sha256(start + fields + b',"retracted":false}').hexdigest()
        value = _Value(
            content,
            self._contract,
            effective_at,
            entity_id,
            msgspec.Raw(fields),
            mapping,
            self._version,
            origin.observed_at,
            output,
            origin.position,
            _Raw(origin.offset, self._partition, self._topic),
            retracted,
            source,
            source_key,
            stream,
        )
        return _encode((entity_id, source, stream, source_key, mapping, output)), _encode(value)
