"""What is kept in memory of the two logs of an entity, contributions and canonical records, and the errors in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from sluice.entities import EntityContract
from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.provenance import ClaimOrder, Contribution, Incomplete, Merged, merge
from sluice.schemas.decoder import DecodedCanonical


@dataclass(slots=True)
class HighestClaim:
    """The highest claim of one contribution key (`value`, JSON) with its order and offset, and those of the key's last
    record.

    `older`: how many records were lower than the highest claim before them; `repeated`: how many were equal to it.
    """

    value: bytes
    order: ClaimOrder
    offset: int
    last_order: ClaimOrder
    last_offset: int
    older: int = 0
    repeated: int = 0

    @property
    def claim(self) -> Contribution:
        return Contribution.from_json(self.value)


class ContributionLog:
    """The highest claim of each contribution key of a partition; the offsets of records that are no contributions."""

    def __init__(self) -> None:
        self.highest: dict[bytes, HighestClaim] = {}
        self.unreadable: list[int] = []

    def add(self, record: Record) -> None:
        """Add the next record of the partition."""
        key, value, offset = record.key, record.value, record.offset
        if value is None:
            self.highest.pop(key or b"", None)
            return
        try:
            claim = Contribution.from_json(value)
            if key is None or claim.key != key:
                raise DeadRecord("bad-key", "the key is not that of the contribution")
        except DeadRecord:
            self.unreadable.append(offset)
            return
        before, order = self.highest.get(key), claim.claim_order
        if before is None:
            self.highest[key] = HighestClaim(value, order, offset, order, offset)
            return
        before.last_order, before.last_offset = order, offset
        if order < before.order:
            before.older += 1
        else:
            before.repeated += order == before.order
            before.value, before.order, before.offset = value, order, offset


def log_findings(claim: HighestClaim) -> Iterator[tuple[Literal["I2", "I4"], str]]:
    """Yields each error in the sequence of records of one contribution key, with the invariant that it breaks."""
    if claim.last_order < claim.order:
        yield "I4", f"is not the highest claim of its key; that one is at offset {claim.offset}"
    # The merger writes its stored claim again after an older claim. More repetitions than older claims are an error.
    if claim.repeated > claim.older:
        yield "I2", f"{claim.repeated} times the same claim again"


def entity_of(key: bytes | None) -> str:
    """The entity id in a contribution key; a NUL if the key is none."""
    try:
        return str(orjson.loads(key or b"")[0])
    except (ValueError, LookupError, TypeError):
        return "\0"


@dataclass(slots=True)
class NewestCanonical:
    """The newest canonical record of an entity id. `content` and `revision`: from its headers, None if missing. `says`:
    the digest that its row must have; None if the record deletes the entity or cannot be read."""

    offset: int
    value: bytes | None
    content: str | None
    revision: int | None
    says: bytes | None = None


def repetition(before: NewestCanonical, after: NewestCanonical) -> str:
    """The error in canonical record `after`, given `before`, the record before it of the same id; empty if none."""
    step = None
    if before.revision is not None and after.revision is not None:
        step = after.revision - before.revision
        if step <= 0:
            return f"revision {after.revision} follows revision {before.revision}"
    both_deleted = before.value is None and after.value is None
    alike = before.content is not None and before.content == after.content
    # Compaction leaves gaps in the revisions. Equal content after a gap is no repetition.
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
    """Yields each error in `record`, the newest canonical record of an entity with these claims. `decoded`: its value;
    None if it deletes the entity or is missing."""
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
    """Whether a canonical record has the content of a merge: the values, and the winner and rule of each field.
    Versions and offsets are not compared, as in the content hash."""
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


@dataclass(slots=True)
class EntityPartition:
    """What a round keeps in memory of one partition of an entity's two logs.

    `canonical`: the newest canonical record of each entity id. `unmerged`: the ids with contributions that the merger
    has not processed. `unstored`: by sink, the ids with canonical records that the sink has not processed.
    """

    contract: EntityContract
    contributions_at: Partition
    canonical_at: Partition
    contributions: ContributionLog = field(default_factory=ContributionLog)
    canonical: dict[str, NewestCanonical] = field(default_factory=dict)
    unmerged: set[str] = field(default_factory=set)
    unstored: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
