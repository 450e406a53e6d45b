"""Canonical records as they stand: the log of some partitions, and whether each is the merge of its contributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice.entities import EntityContract
from sluice.kafka.log import Partition
from sluice.provenance import Contribution, Incomplete, Merged, merge
from sluice.schemas.decoder import DecodedCanonical


@dataclass(slots=True)
class NewestCanonical:
    """The newest record of an id. `content` and `revision` as its headers say, None where they say nothing."""

    offset: int
    value: bytes | None
    content: str | None
    revision: int | None


class CanonicalLog:
    """The canonical records of some partitions of one entity, read from the beginning, by entity id."""

    def __init__(self) -> None:
        self.newest: dict[Partition, dict[str, NewestCanonical]] = {}

    def add(self, at: Partition, entity_id: str, golden: NewestCanonical) -> str:
        """Take the next record; returns what is wrong with it after the one before, or nothing."""
        newest = self.newest.setdefault(at, {})
        before = newest.get(entity_id)
        newest[entity_id] = golden
        return "" if before is None else _twice(before, golden)


def _twice(before: NewestCanonical, after: NewestCanonical) -> str:
    step = None
    if before.revision is not None and after.revision is not None:
        step = after.revision - before.revision
        if step <= 0:
            return f"revision {after.revision} stands behind revision {before.revision}"
    both_deleted = before.value is None and after.value is None
    alike = before.content is not None and before.content == after.content
    # Revisions in between may be compacted away; then equal content says nothing.
    if (both_deleted or alike) and step in (None, 1):
        return f"repeats the content of offset {before.offset}"
    return ""


def merge_findings(
    contract: EntityContract,
    claims: Sequence[Contribution],
    source_order: Sequence[str],
    golden: NewestCanonical | None,
    decoded: DecodedCanonical | None,
) -> Iterator[str]:
    """What is wrong with an entity's newest canonical record, `decoded` being its value (None: deleted or none)."""
    merged = merge(contract, claims, source_order)
    if isinstance(merged, Incomplete):
        if decoded is not None:
            yield f"stands, and its contributions give no {', '.join(merged.missing)}"
        return
    if golden is None or decoded is None:
        yield "is complete, and no canonical record stands"
        return
    if not _is_merge(decoded, merged):
        yield "is not the merge of its contributions"
    elif golden.content is not None and golden.content != merged.content:
        yield "has a content header that is not that of its value"


def _is_merge(decoded: DecodedCanonical, merged: Merged) -> bool:
    """Equal by what a content hash is made of: values, and who won each by which rule; not by versions or offsets."""
    told, contributors = decoded.sluice["winners"], decoded.sluice["contributors"]
    given = {name: value for name, value in decoded.fields.items() if value is not None}
    wanted = {name: value for name, value in merged.fields.items() if value is not None}
    if given != wanted or len(told) != len(merged.winners):
        return False
    for one, winner in zip(told, merged.winners, strict=True):
        there, claim = contributors[one["contributor"]], merged.contributors[winner.contributor]
        if (one["field"], one["rule"]) != (winner.field, winner.rule):
            return False
        if any(there[name] != getattr(claim, name) for name in ("source", "stream", "source_key", "mapping")):
            return False
    return True
