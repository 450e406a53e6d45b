"""Times as integers since 1970-01-01 UTC: microseconds (`us`), milliseconds (`ms`) and days.

Floats are not used, because they would round microseconds.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = EPOCH.toordinal()
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 in Unix microseconds. Postgres counts the times of its replication protocol from this date."""
MICROSECOND = timedelta(microseconds=1)


def now_us() -> int:
    return time.time_ns() // 1_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def to_us(moment: datetime) -> int:
    """The exact Unix microseconds of a time with a time zone. Raises TypeError if `moment` has no time zone."""
    return (moment - EPOCH) // MICROSECOND


def from_us(us: int) -> datetime:
    """The time in UTC at `us` Unix microseconds. Raises OverflowError if it is outside of the years 1 to 9999."""
    return EPOCH + us * MICROSECOND


def from_days(days: int) -> date:
    """The date `days` days after 1970-01-01. Raises OverflowError if it is outside of the years 1 to 9999."""
    try:
        return date.fromordinal(days + EPOCH_ORDINAL)
    except ValueError:
        raise OverflowError("a date outside of the years 1 to 9999") from None


def rfc3339(moment: datetime, timespec: str = "auto") -> str:
    """The text of a time in UTC, in the format of RFC 3339 and with `Z` for the zone.

    `timespec`: the precision, one of the values of `datetime.isoformat`.
    """
    return moment.isoformat(timespec=timespec).removesuffix("+00:00") + "Z"


def text_of_us(us: float, timespec: str = "auto") -> str:
    """The text of a time for people, in the format of RFC 3339. `us`: Unix microseconds.

    A time outside of the years 1 to 9999 is written as the number of microseconds.
    """
    try:
        return rfc3339(from_us(round(us)), timespec)
    except OverflowError:
        return f"{us} µs"


def age_text(seconds: float) -> str:
    """The text of an age for people: in seconds below two minutes, else in minutes."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


INSTANTS = range(to_us(datetime.min.replace(tzinfo=UTC)), to_us(datetime.max.replace(tzinfo=UTC)) + 1)
"""The Unix microseconds of the years 1 to 9999, which every reader of golden records can represent."""
