"""The watermarks of a followed source, and the operator's requests to read it again. All are JSON records in Kafka.

A slot's streams advance together, in commit order, so one watermark tells how far the slot is published: key
`<source>/*` in `sluice.watermarks` (`*` cannot be a stream's name). Beside it each table has a record of its own, key
`<source>/<schema.table>`: whether it is followed, since when, and what that is bound to. Both are written in the
transaction of the records they speak of; a table's only when it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from sluice.cdc.table_facts import Bound

State = Literal["pending", "followed", "held"]
PENDING: State = "pending"
FOLLOWED: State = "followed"
HELD: State = "held"


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
    """How far one slot is published, as `epoch`. `lsn` 0: the slot of this epoch was not made yet."""

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

        Version 1 told of its tables here, without what they were bound to: they are read again, one by one.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a slot's watermark of version {value.get('v')!r} is not understood here")
        return cls(**{k: v for k, v in value.items() if k not in ("v", "config", "snapshot")})


@dataclass(frozen=True, slots=True)
class TableMark:
    """One table of a followed source.

    *pending*: it is to be read whole, and its changes are not published until then. *followed*: what committed below
    `since_lsn` was in its snapshot, everything from there on comes through the slot. *held*: its changes are not
    published, and only an operator's request to read it again ends that.
    `why` and `next_step` say what is wrong with it since `fault_at` (µs); a followed table may have a fault too: its
    changes go on, and rows that changed without an event are not as in the source. `request`: the newest request to
    read it again that is done. `bound`: what its records were made from; `truncations`: the newest transactions since
    then that truncated the whole table, oldest first.
    """

    state: State = PENDING
    since_lsn: int = 0
    request: int = 0
    why: str = ""
    next_step: str = ""
    fault_at: int = 0
    bound: Bound | None = None
    truncations: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        bound = None if self.bound is None else self.bound.to_json()
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {"v": 2, **plain, "bound": bound, "truncations": self.truncations}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableMark:
        """Raises ValueError for a form this version does not know.

        Version 1 told less of columns and partitions: what is missing counts as not changed.
        """
        if value.get("v") not in (1, 2):
            raise ValueError(f"a table's watermark of version {value.get('v')!r} is not understood here")
        bound = value["bound"]
        return cls(
            **{name: value[name] for name in _PLAIN},
            bound=None if bound is None else Bound.from_json(bound),
            truncations=tuple(value.get("truncations", ())),
        )


_PLAIN = ("state", "since_lsn", "request", "why", "next_step", "fault_at")


class SourceWatermarks(NamedTuple):
    """What is durable of one followed source: its slot's watermark, and its tables' by name (`schema.table`)."""

    slot: SlotWatermark | None
    tables: Mapping[str, TableMark]


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
        {table: TableMark.from_json(value) for table, value in ours.items()},
    )


def control_key(source: str, table: str | None = None) -> str:
    """The key of the request to read a source again, or one table of it."""
    return f"cdc/{source}" if table is None else f"cdc/{source}/{table}"


def resnapshot_request(number: int) -> dict[str, int]:
    """Asks to read a source again as epoch `number`, or a table by its request of that `number`; done once the
    watermark has reached it."""
    return {"v": 1, "resnapshot_epoch": number}


def requested(request: Mapping[str, Any] | None) -> int:
    """The epoch, or a table's number, that was asked for; 0 if none."""
    return int(request["resnapshot_epoch"]) if request and request.get("v") == 1 else 0
