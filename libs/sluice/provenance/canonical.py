"""The canonical record: an entity's fields, and for each field the contributor that won the field, and the rule."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from sluice.canonical_json import canonical_bytes, is_plain
from sluice.provenance.contribution import Contribution

CONTENT_VERSION = "v1"


class Contributor(NamedTuple):
    """A source record that won at least one field of an entity. Times are Unix microseconds."""

    source: str
    stream: str
    source_key: str
    mapping: str
    mapping_version: int
    topic: str
    partition: int
    offset: int
    observed_at: int
    effective_at: int | None

    @classmethod
    def of(cls, contribution: Contribution) -> "Contributor":
        claim, raw = contribution, contribution.raw
        return cls(
            claim.source,
            claim.stream,
            claim.source_key,
            claim.mapping,
            claim.mapping_version,
            raw.topic,
            raw.partition,
            raw.offset,
            claim.observed_at,
            claim.effective_at,
        )


class Winner(NamedTuple):
    """Which contributor won a field, and by which rule. `contributor`: an index of the canonical record's
    `contributors`."""

    field: str
    contributor: int
    rule: str


class CanonicalRecord(NamedTuple):
    """A record of the topic `canonical.<entity>`. `fields`: values as in contributions; a missing field is null."""

    fields: Mapping[str, Any]
    revision: int
    updated_at_us: int
    contributors: Sequence[Contributor]
    winners: Sequence[Winner]

    @property
    def content(self) -> str:
        """The hash of the record's content, which is the value of the header `sluice-content`."""
        return canonical_content(self.fields, self.contributors, self.winners)


def canonical_content(
    fields: Mapping[str, Any], contributors: Sequence[Contributor | Contribution], winners: Iterable[Winner]
) -> str:
    """The hash of a canonical record's content, `v1:<sha256>`: over field values, winners and rules.

    Of a winner, the source record and the mapping's name count, but not the mapping's version and the raw offset. So
    the hash stays the same after a replay that changes no value and no origin. A field whose claim is null has a winner
    in the hash; a field without a claim has none.
    """
    origins = [[c.source, c.stream, c.source_key, c.mapping] for c in contributors]
    won = [[winner.field, winner.rule, *origins[winner.contributor]] for winner in winners]
    return content_hash(fields, canonical_bytes(won)[1:-1])


def content_hash(fields: Mapping[str, Any], won: bytes) -> str:
    """As `canonical_content`, with the origins of the winners in JSON: `won` is the inside of an array, which has for
    each winner an array of field, rule, source, stream, source key and mapping."""
    given = {name: value for name, value in fields.items() if value is not None}
    for value in given.values():
        if type(value) is not str and not is_plain(value):
            text = canonical_bytes(given)
            break
    else:  # the common case: the names of fields are plain too
        text = orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(b'{"fields":%b,"winners":[%b]}' % (text, won)).hexdigest()
    return f"{CONTENT_VERSION}:{digest}"
