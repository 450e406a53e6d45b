"""Canonical records of one id: does one repeat the one before, and is the newest the merge of its contributions?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sluice.entities import EntityContract
from sluice.provenance import Contribution, Incomplete, Merged, merge
from sluice.schemas.decoder import DecodedCanonical


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
