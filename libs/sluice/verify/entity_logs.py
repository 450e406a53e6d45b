"""The two logs of one entity, contributions and canonical records: what a round keeps of them, and what is wrong
in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import orjson

from sluice.entities import EntityContract
from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.provenance import ClaimOrder, Contribution, Incomplete, Merged, merge
from sluice.schemas.decoder import DecodedCanonical


@dataclass(slots=True)
class HighestClaim:
    """The highest claim of one contribution key (JSON) and its offset; the last record of the key.

    `older`: the number of records below the highest claim before them; `repeated`: of records equal to it.
    """

    value: bytes
    order: ClaimOrder
    offset: int
    last_order: ClaimOrder
    last_offset: int
    older: int = 0
    repeated: int = 0


class ContributionLog:
    """The highest claims of one entity by partition and key, and the places of records that are no contributions."""

    def __init__(self) -> None:
        self.highest: dict[Partition, dict[bytes, HighestClaim]] = {}
        self.unreadable: list[tuple[Partition, int]] = []

    def add(self, at: Partition, offset: int, key: bytes | None, value: bytes | None) -> Contribution | None:
        """Take the next record. Returns its claim; None for a tombstone, and for a record that is no contribution."""
        highest = self.highest.setdefault(at, {})
        if value is None:
            highest.pop(key or b"", None)
            return None
        try:
            claim = Contribution.from_json(value)
            if key is None or claim.key != key:
                raise DeadRecord("bad-key", "the key is not that of the contribution")
        except DeadRecord:
            self.unreadable.append((at, offset))
            return None
        before, order = highest.get(key), claim.claim_order
        if before is None:
            highest[key] = HighestClaim(value, order, offset, order, offset)
            return claim
        before.last_order, before.last_offset = order, offset
        if order < before.order:
            before.older += 1
        else:
            before.repeated += order == before.order
            before.value, before.order, before.offset = value, order, offset
        return claim

    def entities(self, at: Partition) -> Iterator[tuple[str, list[tuple[bytes, Contribution]]]]:
        """The highest claims to each entity of a partition, with their keys."""
        highest = self.highest.get(at, {})
        keys: dict[str, list[bytes]] = {}
        for key in highest:
            keys.setdefault(orjson.loads(key)[0], []).append(key)
        for entity_id, several in keys.items():
            yield entity_id, [(key, Contribution.from_json(highest[key].value)) for key in several]


def log_findings(claim: HighestClaim) -> Iterator[tuple[Literal["I2", "I4"], str]]:
    """What is wrong in the sequence of records of one key."""
    if claim.last_order < claim.order:
        yield "I4", f"is not the highest claim of its key; that one is at offset {claim.offset}"
    # The merger writes its stored claim again above an older one; without an older one it repeats nothing.
    if claim.repeated > claim.older:
        yield "I2", f"{claim.repeated} times the same claim again"


def entity_of(key: bytes | None) -> str:
    """The entity id in a contribution's key; a NUL for a key of another form."""
    try:
        return str(orjson.loads(key or b"")[0])
    except (ValueError, LookupError, TypeError):
        return "\0"


@dataclass(slots=True)
class NewestCanonical:
    """The newest canonical record of an id. `content` and `revision`: from its headers, None if missing."""

    offset: int
    value: bytes | None
    content: str | None
    revision: int | None


def repetition(before: NewestCanonical, after: NewestCanonical) -> str:
    """What is wrong with a canonical record after the record before it, else an empty string."""
    step = None
    if before.revision is not None and after.revision is not None:
        step = after.revision - before.revision
        if step <= 0:
            return f"revision {after.revision} follows revision {before.revision}"
    both_deleted = before.value is None and after.value is None
    alike = before.content is not None and before.content == after.content
    # After a gap in the revisions, which compaction leaves, equal content is no repetition.
    if (both_deleted or alike) and step in (None, 1):
        return f"repeats the content of offset {before.offset}"
    return ""


def merge_findings(
    contract: EntityContract,
    claims: Sequence[Contribution],
    source_order: Sequence[str],
    record: NewestCanonical | None,
    decoded: DecodedCanonical | None,
) -> Iterator[str]:
    """What is wrong with an entity's newest canonical record. `decoded`: its value, None if deleted or missing."""
    merged = merge(contract, claims, source_order)
    if isinstance(merged, Incomplete):
        if decoded is not None:
            yield f"exists, but its contributions give no {', '.join(merged.missing)}"
        return
    if record is None or decoded is None:
        yield "is complete, but has no canonical record"
        return
    if not _is_merge(decoded, merged):
        yield "is not the merge of its contributions"
    elif record.content is not None and record.content != merged.content:
        yield "has a content header that is not that of its value"


def _is_merge(decoded: DecodedCanonical, merged: Merged) -> bool:
    """Equal in what the content hash covers: values, and the winner and rule of each; not versions or offsets."""
    winners, contributors = decoded.sluice["winners"], decoded.sluice["contributors"]
    given = {name: value for name, value in decoded.fields.items() if value is not None}
    wanted = {name: value for name, value in merged.fields.items() if value is not None}
    if given != wanted or len(winners) != len(merged.winners):
        return False
    for one, winner in zip(winners, merged.winners, strict=True):
        there, claim = contributors[one["contributor"]], merged.contributors[winner.contributor]
        if (one["field"], one["rule"]) != (winner.field, winner.rule):
            return False
        if any(there[name] != getattr(claim, name) for name in ("source", "stream", "source_key", "mapping")):
            return False
    return True


class EntityTopics(NamedTuple):
    """An entity's contract and its two co-partitioned topics."""

    contract: EntityContract
    contributions: str
    canonical: str


class ProcessedOffsets(NamedTuple):
    """The offsets up to which the merger (contributions), and each sink by its name (canonical), may be judged."""

    merger: Mapping[Partition, int]
    sinks: Mapping[str, Mapping[Partition, int]]


@dataclass(slots=True)
class EntityRound:
    """What a round keeps in memory. `canonical`: the newest record by partition and id. `unmerged`: ids with
    contributions that the merger has not processed. `unstored`: by sink, ids with canonical records that it has not."""

    contributions: ContributionLog = field(default_factory=ContributionLog)
    canonical: dict[Partition, dict[str, NewestCanonical]] = field(default_factory=dict)
    unmerged: set[str] = field(default_factory=set)
    unstored: dict[str, set[str]] = field(default_factory=dict)
