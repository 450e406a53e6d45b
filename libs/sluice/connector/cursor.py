"""Cursors: how a stream requests only what changed, by values that the source itself states.

Our clock plays no part. A cursor value is a time in ISO 8601 (read as UTC if it has no zone) or a rising whole number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.times import to_us

CursorValue = str | int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How to request changes.

    `field`: dotted path of the member that rises with each change: a time or a whole number.
    `param`: the query parameter that requests records from a value on (`>=`). None: `first_request` places the value.
    `lookback`: how far before the newest value each poll starts. Set it to the longest time after which a change may
    still appear, because sources commit late and their clocks differ. A timedelta for times, a whole number for
    numbers.
    """

    field: str
    param: str | None = None
    lookback: timedelta | int = timedelta(minutes=5)

    def since(self, newest: CursorValue) -> CursorValue:
        """`newest` less the lookback, in the source's own spelling."""
        if isinstance(newest, int):
            return newest - (self.lookback if isinstance(self.lookback, int) else 0)
        if isinstance(self.lookback, int):
            return newest
        try:
            return _spelled_like(newest, datetime.fromisoformat(newest) - self.lookback)
        except OverflowError:
            return newest


def order(value: CursorValue) -> int:
    """A cursor value as a comparable integer (of a time: µs since 1970 UTC). Raises ValueError."""
    if isinstance(value, int):
        return value
    return to_us(in_utc(datetime.fromisoformat(value)))


def as_time(value: CursorValue | None) -> datetime | None:
    """The time of a cursor value, in UTC; None for a number."""
    return in_utc(datetime.fromisoformat(value)) if isinstance(value, str) else None


def in_utc(value: datetime) -> datetime:
    """`value` in UTC; without a zone it is read as UTC. Raises ValueError if it leaves the calendar."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time whose offset puts it outside of the calendar") from None


def _spelled_like(sample: str, value: datetime) -> str:
    text = value.isoformat(sep="T" if "T" in sample else " ")
    return text.removesuffix("+00:00") + "Z" if sample.endswith("Z") else text
