"""The contributions of some partitions, read from the beginning: the highest claim of each key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import orjson

from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.provenance import ClaimOrder, Contribution


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
