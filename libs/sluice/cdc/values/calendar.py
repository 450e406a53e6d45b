"""Reads the text of dates and times as Postgres prints it with `datestyle=ISO`, and spells it in ISO 8601."""

from __future__ import annotations

from functools import lru_cache

_DAY_US = 86_400_000_000
DATE_INFINITY = {b"infinity": 2_147_483_647, b"-infinity": -2_147_483_648}
"""The numbers for the infinities: no date of Postgres is as many days from 1970."""


def days_since_1970(text: bytes) -> int:
    """The number of days from 1970-01-01 to an ISO date of any year, also with ` BC`. Proleptic Gregorian calendar;
    algorithm: Hinnant's `days_from_civil`."""
    if text in DATE_INFINITY:
        return DATE_INFINITY[text]
    era_text, _, bc = text.partition(b" ")
    year_text, month_text, day_text = era_text.split(b"-")
    year, month, day = int(year_text), int(month_text), int(day_text)
    if bc:
        year = 1 - year
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


@lru_cache(maxsize=8_192)
def minute_us(text: bytes) -> int:
    """The µs from 1970 to `YYYY-MM-DD HH:MM`. Cached, because rows that are written together share the minute."""
    return days_since_1970(text[:10]) * _DAY_US + (int(text[11:13]) * 60 + int(text[14:16])) * 60_000_000


def time_us(text: bytes) -> int:
    """The µs from midnight to the time `HH:MM:SS[.ffffff]`."""
    seconds = int(text[0:2]) * 3_600 + int(text[3:5]) * 60 + int(text[6:8])
    return seconds * 1_000_000 + int(text[9:].ljust(6, b"0"))


def split_timestamp(text: bytes) -> tuple[bytes, bytes]:
    """The date, with ` BC` if the timestamp has it, and the time of a timestamp."""
    day, _, time = text.partition(b" ")
    time, bc, _ = time.partition(b" BC")
    return day + bc, time


def iso_time(text: bytes) -> bytes:
    """The time with as many digits of a fraction as it needs."""
    return text.rstrip(b"0").rstrip(b".") if b"." in text else text


def iso_date(day: bytes, bc: bool) -> bytes:
    """The date with the extended year of ISO 8601: `-0043` for 44 BC, `+12024` for a year of more than four digits."""
    if not bc and day[4:5] == b"-":
        return day
    year_text, month, day_of_month = day.split(b"-")
    year = 1 - int(year_text) if bc else int(year_text)
    sign = b"-" if year < 0 else b"+" if year > 9_999 else b""
    return b"%b%04d-%b-%b" % (sign, abs(year), month, day_of_month)
