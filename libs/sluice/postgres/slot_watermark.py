"""The watermark of a followed slot, and the operator's request to begin a slot anew. Both are JSON records in Kafka.

A slot's streams advance together, in commit order, so there is one watermark for all of them: key `<source>/*` in
`sluice.watermarks` (`*` cannot be a stream's name). It is written in the transaction of the records it speaks of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import orjson

PENDING = "pending"
DONE = "done"


class Mark(NamedTuple):
    """How far a slot's changes are published; ordered.

    `(end of a commit, 0)`: every transaction that committed below is wholly published.
    `(final LSN of a transaction, n)`: all before it, and its first n events.
    An event at (final LSN, ordinal) is published if that is not above the mark. Ordinals begin at 1, so a commit record
    that begins exactly where the one before ended is not mistaken for published.
    """

    lsn: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class SlotWatermark:
    """`snapshot` tells for each table whether its snapshot in this epoch is done; `config` is `tables_hash`."""

    system_id: str
    timeline: int
    slot: str
    epoch: int
    lsn: int
    ordinal: int
    config: str
    snapshot: Mapping[str, str] = field(default_factory=dict)
    at: int = 0  # µs

    @property
    def mark(self) -> Mark:
        return Mark(self.lsn, self.ordinal)

    @property
    def snapshot_done(self) -> bool:
        return all(state == DONE for state in self.snapshot.values())

    def at_mark(self, mark: Mark, at_us: int) -> SlotWatermark:
        return replace(self, lsn=mark.lsn, ordinal=mark.ordinal, at=at_us)

    def to_json(self) -> dict[str, Any]:
        return {"v": 1, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlotWatermark:
        """Raises ValueError for a form this version does not know."""
        if value.get("v") != 1:
            raise ValueError(f"a slot's watermark of version {value.get('v')!r} is not understood here")
        return cls(**{k: v for k, v in value.items() if k != "v"})


def watermark_key(source: str) -> str:
    return f"{source}/*"


def tables_hash(tables: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """Changes when a table joins or leaves or a primary key changes: then the records published no longer fit."""
    return hashlib.sha256(orjson.dumps(sorted(tables))).hexdigest()[:16]


def control_key(source: str) -> str:
    return f"cdc/{source}"


def resnapshot_request(epoch: int) -> dict[str, int]:
    """Asks for a new snapshot as `epoch`; done once the watermark's epoch has reached it."""
    return {"v": 1, "resnapshot_epoch": epoch}


def requested_epoch(request: Mapping[str, Any] | None) -> int:
    """The epoch asked for, 0 if none."""
    return int(request["resnapshot_epoch"]) if request and request.get("v") == 1 else 0
