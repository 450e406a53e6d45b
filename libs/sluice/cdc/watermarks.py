"""The watermarks of a followed source, and an operator's requests to read the source again. All are JSON records in
Kafka.

The streams of a slot advance together, in commit order. Therefore one watermark states how far the slot is published.
Its key in `sluice.watermarks` is `<source>/*` (no stream is named `*`). Each table has another watermark with key
`<source>/<schema.table>`: whether the table is followed, from which LSN on, and the facts that its records were made
from. A watermark is written in the transaction of the records that it describes. The watermark of a table is written
only when it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

import msgspec

from sluice.cdc.table_facts import TableBinding

State = Literal["pending", "followed", "blocked"]
PENDING: State = "pending"
FOLLOWED: State = "followed"
BLOCKED: State = "blocked"
_STORED_BLOCKED = "held"  # the spelling of `BLOCKED` in stored watermarks


class Mark(NamedTuple):
    """How far the changes of a slot are published. Marks are ordered.

    `(end of a commit, 0)`: every transaction that committed below that LSN is published.
    `(final LSN of a transaction, n)`: the transaction's first n events and all transactions before it are published.
    An event is published if its (final LSN, ordinal) is not above the mark. Ordinals start at 1. Otherwise the events
    of a commit record that starts where the commit record before ended would count as published.
    """

    lsn: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest transaction that a slot has sent as a whole (see `sluice.cdc.continuity`). `final_lsn`: the LSN of its
    commit record. `committed_us`: its commit, µs since 1970."""

    final_lsn: int
    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class SlotWatermark:
    """How far one slot is published in `epoch`. If `lsn` is 0, the slot of this epoch does not exist yet. `at`: when
    the watermark was written (µs since 1970). `proof`: None if the slot has sent no transaction yet. `options`: the
    options of the stream that sent it. `counts`: the published events, by table, of the transaction that the mark is
    within; empty if they are not counted. `commit_lsn`: the end of the newest published commit; 0 if not known."""

    system_id: str
    timeline: int
    slot: str
    epoch: int
    lsn: int
    ordinal: int
    at: int = 0
    proof: Proof | None = None
    options: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    commit_lsn: int = 0

    @property
    def mark(self) -> Mark:
        return Mark(self.lsn, self.ordinal)

    def at_mark(
        self, mark: Mark, at_us: int, counts: Mapping[str, int] | None = None, commit_lsn: int = 0
    ) -> SlotWatermark:
        return replace(
            self, lsn=mark.lsn, ordinal=mark.ordinal, at=at_us, counts=dict(counts or {}), commit_lsn=commit_lsn
        )

    def to_json(self) -> dict[str, Any]:
        return {"v": 2, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SlotWatermark:
        """The watermark for stored JSON. Raises ValueError if this version of Sluice does not know its form.

        Form 1 also contains the tables of the slot, without the facts that their records were made from. These tables
        have no watermarks of their own: each is read again.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a slot's watermark of version {value.get('v')!r} is unknown to this version of Sluice")
        return msgspec.convert(value, cls)


class Heap(NamedTuple):
    """A table or partition whose rows are read. `blocks`: its size when the reading started; rows in later blocks are
    in the stream. 0: the rows are read at once, with those of all partitions. `filenode`: the file that is read."""

    oid: int
    filenode: int
    blocks: int


class TableReading(NamedTuple):
    """How far a table is read: all of `heaps` before index `heap`, and the blocks of that heap before `block`. `heaps`:
    empty until the sizes are known. `rows`: the number of rows read. `too_large`: a row did not fit its topic."""

    heaps: tuple[Heap, ...] = ()
    heap: int = 0
    block: int = 0
    rows: int = 0
    too_large: bool = False

    @property
    def blocks(self) -> int:
        return sum(heap.blocks for heap in self.heaps)

    @property
    def blocks_read(self) -> int:
        return sum(heap.blocks for heap in self.heaps[: self.heap]) + self.block

    @property
    def is_complete(self) -> bool:
        return bool(self.heaps) and self.heap == len(self.heaps)


@dataclass(frozen=True, slots=True)
class TableWatermark:
    """The state of one table of a followed source.

    *Pending*: the table must be read as a whole. Its changes are published from the start of the reading on, which is
    when `reading` says how far the table is read. *Followed*: the table's
    snapshot contains the commits below `since_lsn`, and the slot sends the commits from that LSN on. *Blocked*: the
    table's changes are not published until an operator requests that the table is read again.

    `why` and `next_step` describe the fault that is active since `fault_at` (µs since 1970). A followed table may have
    a fault too: its changes are published, and rows that changed without an event are stale. `request`: the number of
    the newest applied request to read the table again. `bound`: the facts that the table's records were made from.
    `truncations`: the transactions that truncated the whole table after `bound` was read; the newest ones, oldest
    first.
    """

    state: State = PENDING
    since_lsn: int = 0
    request: int = 0
    why: str = ""
    next_step: str = ""
    fault_at: int = 0
    bound: TableBinding | None = None
    truncations: tuple[int, ...] = ()
    reading: TableReading | None = None

    @property
    def is_streamed(self) -> bool:
        """Whether the changes of the table are published."""
        return self.state == FOLLOWED or self.reading is not None

    def to_json(self) -> dict[str, Any]:
        bound = None if self.bound is None else self.bound.to_json()
        state = _STORED_BLOCKED if self.state == BLOCKED else self.state
        reading = None
        if self.reading is not None:
            reading = [[list(heap) for heap in self.reading.heaps], *self.reading[1:]]
        plain = asdict(replace(self, bound=None, reading=None))
        return {"v": 2, **plain, "state": state, "bound": bound, "reading": reading}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableWatermark:
        """The watermark for stored JSON. Raises ValueError if this version of Sluice does not know its form.

        Form 1 contains fewer facts of columns and partitions: a missing fact counts as unchanged.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a table's watermark of version {value.get('v')!r} is unknown to this version of Sluice")
        bound = value["bound"] and TableBinding.from_json(value["bound"])
        state = BLOCKED if value["state"] == _STORED_BLOCKED else value["state"]
        return msgspec.convert({**value, "state": state, "bound": bound}, cls)


class SourceWatermarks(NamedTuple):
    """The durable watermarks of one followed source: one of its slot, and one of each table by name
    (`schema.table`)."""

    slot: SlotWatermark | None
    tables: Mapping[str, TableWatermark]


def watermark_key(source: str, table: str = "*") -> str:
    """The key of the watermark of `table`; without a table, the key of the slot's watermark."""
    return f"{source}/{table}"


def source_watermarks(source: str, stored: Mapping[str, Mapping[str, Any]]) -> SourceWatermarks:
    """The watermarks of `source` from `stored`, which contains all watermarks by key. Raises ValueError if this version
    of Sluice does not know the form of a watermark."""
    prefix = watermark_key(source, "")
    ours = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
    slot = ours.pop("*", None)
    return SourceWatermarks(
        None if slot is None else SlotWatermark.from_json(slot),
        {table: TableWatermark.from_json(value) for table, value in ours.items()},
    )


def control_key(source: str, table: str | None = None) -> str:
    """The key of the request to read a source again; with `table`, of the request to read this table again."""
    return f"cdc/{source}" if table is None else f"cdc/{source}/{table}"


def resnapshot_request(number: int) -> dict[str, int]:
    """The request to read a source again as epoch `number`, or a table again as its request `number`. A request is
    applied when the epoch or the request number of the watermark is at least `number`."""
    return {"v": 1, "resnapshot_epoch": number}


def requested(request: Mapping[str, Any] | None) -> int:
    """The epoch of a source's request, or the number of a table's request; 0 if there is no request."""
    return int(request["resnapshot_epoch"]) if request and request.get("v") == 1 else 0
