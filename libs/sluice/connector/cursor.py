"""Cursors: how a stream is asked only for what changed, from values that the source itself states.

Our clock has no say in it. A cursor is a text in ISO 8601 (with or without a zone, the latter read as UTC) or a
whole number that rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.times import to_us

CursorValue = str | int


@dataclass(frozen=True, slots=True)
class Cursor:
    """`field`: dotted path in the record. `param`: query parameter that asks for `>=` it (None: the author's
    `first_request` places it). `lookback`: how far behind the newest value each pass begins, against late commits
    and clocks that disagree at the source; a timedelta for times, a whole number for numbers.
    """

    field: str
    param: str | None = None
    lookback: timedelta | int = timedelta(minutes=5)

    def since(self, newest: CursorValue) -> CursorValue:
        """Where the next pass begins: `newest` less the lookback, spelled as the source spells it."""
        if isinstance(newest, int):
            return newest - (self.lookback if isinstance(self.lookback, int) else 0)
        if isinstance(self.lookback, int):
            return newest
        try:
            return _spelled_like(newest, _parse(newest) - self.lookback)
        except OverflowError:
            return newest


def order(value: CursorValue) -> int:
    """A cursor value as an integer that compares (times: µs since 1970 UTC); raises ValueError."""
    if isinstance(value, int):
        return value
    return to_us(_utc(_parse(value)))


def as_time(value: CursorValue | None) -> datetime | None:
    """The time that a cursor value states, in UTC; None for numbers, which state none."""
    return _utc(_parse(value)) if isinstance(value, str) else None


def _parse(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time whose offset puts it outside of the calendar") from None


def _spelled_like(sample: str, value: datetime) -> str:
    text = value.isoformat(sep="T" if "T" in sample else " ")
    return text.removesuffix("+00:00") + "Z" if sample.endswith("Z") else text
