"""Times as whole numbers since 1970 UTC: microseconds (`us`), milliseconds (`ms`) and days. No float, no rounding."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01, from which Postgres counts the times of its replication protocol."""
_MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    return time.time_ns() // 1_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def to_us(moment: datetime) -> int:
    """Microseconds of a time with a zone, exact. Raises TypeError for a time without one."""
    return (moment - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The time in UTC, from microseconds since 1970. Raises OverflowError outside of the years 1 to 9999."""
    return EPOCH + us * _MICROSECOND


def from_days(days: int) -> date:
    """The date that is `days` days after 1970-01-01. Raises OverflowError outside of the years 1 to 9999."""
    try:
        return date.fromordinal(days + EPOCH_ORDINAL)
    except ValueError:
        raise OverflowError("a date outside of the years 1 to 9999") from None


def rfc3339(moment: datetime, timespec: str = "auto") -> str:
    """A time in UTC with `Z` in place of `+00:00`. `timespec` as `datetime.isoformat` takes it."""
    return moment.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def text_of_us(us: float, timespec: str = "auto") -> str:
    """A time for people, as `rfc3339` writes it; outside of the years 1 to 9999 the number."""
    try:
        return rfc3339(from_us(round(us)), timespec)
    except OverflowError:
        return f"{us} µs"


def age_text(seconds: float) -> str:
    """An age for people, in seconds, from two minutes on in minutes."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


INSTANTS = range(to_us(datetime.min.replace(tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC)) + 1)
"""The microseconds that every place downstream can show: the years 1 to 9999."""
