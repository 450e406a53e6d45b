"""The watermarks of a followed source, and an operator's requests to read it again. All are JSON records in Kafka.

The streams of a slot advance together, in commit order. One watermark therefore states how far the slot is published:
key `<source>/*` in `sluice.watermarks` (`*` is no possible name of a stream). Each table has a watermark of its own
with key `<source>/<schema.table>`: whether it is followed, since when, and the facts that its records were made from.
Each is written in the transaction of the records it describes; a table's only when it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import msgspec

from sluice.cdc.table_facts import TableBinding

State = Literal["pending", "followed", "held"]
PENDING: State = "pending"
FOLLOWED: State = "followed"
BLOCKED: State = "held"  # the spelling in stored watermarks


class Mark(NamedTuple):
    """How far a slot's changes are published; ordered.

    `(end of a commit, 0)`: every transaction that committed below it is published.
    `(final LSN of a transaction, n)`: all transactions before it are published, and its first n events.
    An event at (final LSN, ordinal) is published if that is not above the mark. Ordinals start at 1: a commit record
    that starts exactly where the one before ended is not mistaken for published.
    """

    lsn: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class SlotWatermark:
    """How far one slot is published, as `epoch`. `lsn` 0: the slot of this epoch does not exist yet."""

    system_id: str
    timeline: int
    slot: str
    epoch: int
    lsn: int
    ordinal: int
    at: int = 0  # µs

    @property
    def mark(self) -> Mark:
        return Mark(self.lsn, self.ordinal)

    def at_mark(self, mark: Mark, at_us: int) -> SlotWatermark:
        return replace(self, lsn=mark.lsn, ordinal=mark.ordinal, at=at_us)

    def to_json(self) -> dict[str, Any]:
        return {"v": 2, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlotWatermark:
        """Raises ValueError for a form this version does not know.

        Version 1 also named its tables here, without the facts of their records: they are read again, one by one.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a slot's watermark of version {value.get('v')!r} is unknown to this version of Sluice")
        return msgspec.convert(value, cls)


@dataclass(frozen=True, slots=True)
class TableWatermark:
    """One table of a followed source.

    *Pending*: its changes are not published until all of it is read. *Followed*: its snapshot contains the commits
    below `since_lsn`; the slot sends those from there on. *Blocked*: its changes are not published until an operator
    has it read again. `why` and `next_step` name what is wrong with it since `fault_at` (µs). A followed table may have
    a fault too: its changes are published, and rows that changed without an event are stale. `request`: the number of
    the newest request to read it again that is done. `bound`: the facts that its records were made from. `truncations`:
    the newest transactions since then that truncated the whole table, oldest first.
    """

    state: State = PENDING
    since_lsn: int = 0
    request: int = 0
    why: str = ""
    next_step: str = ""
    fault_at: int = 0
    bound: TableBinding | None = None
    truncations: tuple[int, ...] = ()

    @property
    def state_text(self) -> str:
        """The state in texts and in the metric: pending, followed or blocked."""
        return "blocked" if self.state == BLOCKED else self.state

    def to_json(self) -> dict[str, Any]:
        bound = None if self.bound is None else self.bound.to_json()
        return {"v": 2, **asdict(replace(self, bound=None)), "bound": bound}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableWatermark:
        """Raises ValueError for a form this version does not know.

        Version 1 stored fewer facts of columns and partitions: a missing fact counts as unchanged.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a table's watermark of version {value.get('v')!r} is unknown to this version of Sluice")
        bound = value["bound"] and TableBinding.from_json(value["bound"])
        return msgspec.convert({**value, "bound": bound}, cls)


class SourceWatermarks(NamedTuple):
    """The durable watermarks of one followed source: its slot's, and its tables' by name (`schema.table`)."""

    slot: SlotWatermark | None
    tables: Mapping[str, TableWatermark]


def watermark_key(source: str, table: str = "*") -> str:
    """The key of a table's watermark; of the slot's without a table."""
    return f"{source}/{table}"


def source_watermarks(source: str, stored: Mapping[str, Mapping[str, Any]]) -> SourceWatermarks:
    """Of all watermarks by key, those of `source`. Raises ValueError for a form this version does not know."""
    prefix = watermark_key(source, "")
    ours = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    slot = ours.pop("*", None)
    return SourceWatermarks(
        None if slot is None else SlotWatermark.from_json(slot),
        {table: TableWatermark.from_json(value) for table, value in ours.items()},
    )


def control_key(source: str, table: str | None = None) -> str:
    """The key of the request to read a source again, or one table of it."""
    return f"cdc/{source}" if table is None else f"cdc/{source}/{table}"


def resnapshot_request(number: int) -> dict[str, int]:
    """A request to read a source again as epoch `number`, or a table as its request `number`. It is done once the
    watermark has reached the number."""
    return {"v": 1, "resnapshot_epoch": number}


def requested(request: Mapping[str, Any] | None) -> int:
    """The epoch, or a table's number, that was requested; 0 if none."""
    return int(request["resnapshot_epoch"]) if request and request.get("v") == 1 else 0
