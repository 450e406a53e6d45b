"""Canonical records as they stand: the log of some partitions, and whether each is the merge of its contributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice.entities import EntityContract
from sluice.kafka.log import Partition
from sluice.provenance import Contribution, Incomplete, merge
from sluice.schemas.decoder import DecodedCanonical


@dataclass(slots=True)
class Golden:
    """The newest record of an id. `content` and `revision` as its headers say, None where they say nothing."""

    offset: int
    value: bytes | None
    content: str | None
    revision: int | None


class GoldenLog:
    """The canonical records of some partitions of one entity, read from the beginning, by entity id."""

    def __init__(self) -> None:
        self.newest: dict[Partition, dict[str, Golden]] = {}

    def add(self, at: Partition, entity_id: str, golden: Golden) -> str:
        """Take the next record; returns what is wrong with it after the one before, or nothing."""
        newest = self.newest.setdefault(at, {})
        before = newest.get(entity_id)
        newest[entity_id] = golden
        return "" if before is None else _twice(before, golden)


def _twice(before: Golden, after: Golden) -> str:
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
    golden: Golden | None,
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
    content = decoded.record().content
    if content != merged.content:
        yield "is not the merge of its contributions"
    if golden.content is not None and golden.content != content:
        yield "has a content header that is not that of its value"
