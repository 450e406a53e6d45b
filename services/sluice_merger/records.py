"""What the merger reads in a record of contributions and in a record of canonical."""

from __future__ import annotations

from typing import NamedTuple

import orjson
from confluent_kafka import Message

from sluice.errors import DeadRecord
from sluice.headers import CONTENT_HEADER, REVISION_HEADER
from sluice.kafka.record import number_in
from sluice.provenance import Contribution
from sluice.stage.batch import OUTPUT_BYTES_MAX


class CanonicalVersion(NamedTuple):
    """Content hash (None for a tombstone) and revision of an entity's newest canonical record."""

    content: str | None
    revision: int

    def to_bytes(self) -> bytes:
        # A copy, because the view keeps it until the commit: a result of orjson occupies 4 KiB, its copy 0.1 KiB.
        return b"%b" % orjson.dumps([self.content, self.revision])

    @classmethod
    def from_bytes(cls, stored: bytes | None) -> CanonicalVersion:
        return cls(*orjson.loads(stored)) if stored else cls(None, 0)


def canonical_version(message: Message) -> CanonicalVersion:
    """The version of a canonical record, read from the record's headers. Without headers the content counts as unknown,
    so that the record is written again."""
    headers = dict(message.headers() or ())
    content = headers.get(CONTENT_HEADER)
    revision = number_in(headers.get(REVISION_HEADER)) or 0
    if message.value() is None:
        return CanonicalVersion(None, revision)
    return CanonicalVersion(content.decode("utf-8", "replace") if isinstance(content, bytes) else "unknown", revision)


def entity_id_of_canonical_key(key: bytes) -> str | None:
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
    if len(value) > OUTPUT_BYTES_MAX // 2 and len(key) + len(claim.sealed().to_json()) > OUTPUT_BYTES_MAX:
        # A foreign writer can write the same claim with fewer bytes than the merger.
        raise DeadRecord("contribution-too-large", f"it exceeds {OUTPUT_BYTES_MAX} bytes")
    if claim.key != key:
        raise DeadRecord("bad-key", "the key is not that of the contribution")
    try:
        orjson.dumps(claim.fields)
    except TypeError:  # the fields are nested too deeply, or a number is too large, for the JSON encoder
        raise DeadRecord("bad-contribution", "its fields cannot be written again") from None
    return claim


def key_prefix(entity_id: str) -> bytes:
    """The bytes with which every contribution key of an entity starts."""
    return orjson.dumps([entity_id])[:-1] + b","


def entity_id_of_contribution_key(key: bytes) -> str | None:
    """The entity id in a contribution key; None if the key is not the key of a contribution."""
    try:
        return str(orjson.loads(key)[0])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
