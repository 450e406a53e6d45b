"""Cursors: how a stream requests only the records that changed, by values that the source itself states.

Sluice's clock is never used. A cursor value is a time in ISO 8601 (in UTC if it has no zone) or a rising whole number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.times import to_us

CursorValue = str | int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How a stream requests only the records that changed.

    `field`: the dotted path of the member that rises with each change of a record: a time or a whole number.
    `param`: the query parameter that requests records from a cursor value on (`>=`). None: the stream's `first_request`
    puts the value into the request itself.
    `lookback`: how far before the newest value each poll starts: a timedelta for times, a whole number for numbers. Set
    it to the longest time after which a change may still appear, because sources commit late and their clocks differ.
    """

    field: str
    param: str | None = None
    lookback: timedelta | int = timedelta(minutes=5)

    def since(self, newest: CursorValue) -> CursorValue:
        """The cursor value `newest` minus the lookback, in the spelling of the source."""
        if isinstance(newest, int):
            return newest - (self.lookback if isinstance(self.lookback, int) else 0)
        if isinstance(self.lookback, int):
            return newest
        try:
            return _spelled_like(newest, datetime.fromisoformat(newest) - self.lookback)
        except OverflowError:
            return newest


def order(value: CursorValue) -> int:
    """A cursor value as a comparable integer; for a time: µs since 1970 UTC. Raises ValueError for a text that is no
    time."""
    if isinstance(value, int):
        return value
    return to_us(in_utc(datetime.fromisoformat(value)))


def as_time(value: CursorValue | None) -> datetime | None:
    """The time of a cursor value, in UTC; None for a number. Raises ValueError for a text that is no time."""
    return in_utc(datetime.fromisoformat(value)) if isinstance(value, str) else None


def in_utc(value: datetime) -> datetime:
    """`value` in UTC; a value without a zone is UTC already. Raises ValueError if the year leaves 1 to 9999."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time whose offset puts it outside of the calendar") from None


def _spelled_like(sample: str, value: datetime) -> str:
    text = value.isoformat(sep="T" if "T" in sample else " ")
    return text.removesuffix("+00:00") + "Z" if sample.endswith("Z") else text
