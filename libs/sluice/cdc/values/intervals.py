"""Writers of intervals: `interval.handling.mode`. They read the text that `intervalstyle=postgres` gives."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sluice.cdc.event_form import EventForm
from sluice.cdc.values.writer import ToJson, string

_DAYS_PER_MONTH = 30.4375
_MONTH_US = 2_629_800_000_000  # 30.4375 days
_DAY_US = 86_400_000_000
_INT64 = range(-(2**63), 2**63)
_INFINITY_US = {b"infinity": 2**63 - 1, b"-infinity": -(2**63)}


class Interval(NamedTuple):
    """The fields of an interval, each with its own sign. `us`: the microseconds of the seconds and their fraction."""

    years: int
    months: int
    days: int
    hours: int
    minutes: int
    us: int


@lru_cache(maxsize=64)
def interval_writer(form: EventForm) -> ToJson:
    """The writer of an interval column."""
    match form.intervals:
        case "postgres":
            return string
        case "numeric":
            return _exact_us if form.exact else _us
        case "string":
            return _exact_iso if form.exact else _iso


def parse_interval(text: bytes) -> Interval:
    """The fields of `1 year 2 mons -3 days +04:05:06.789`."""
    fields = {b"y": 0, b"m": 0, b"d": 0}
    hours = minutes = us = 0
    words = text.split(b" ")
    for at, word in enumerate(words):
        if b":" in word:
            sign = -1 if word[:1] == b"-" else 1
            hour, minute, second = word.lstrip(b"+-").split(b":")
            whole, _, fraction = second.partition(b".")
            hours, minutes = sign * int(hour), sign * int(minute)
            us = sign * (int(whole) * 1_000_000 + int(fraction.ljust(6, b"0")))
        elif word[:1].isalpha():
            fields[word[:1]] = int(words[at - 1])
    return Interval(fields[b"y"], fields[b"m"], fields[b"d"], hours, minutes, us)


def _us(text: bytes) -> bytes:
    if text in _INFINITY_US:
        return b"%d" % _INFINITY_US[text]
    i = parse_interval(text)
    months, minutes = i.years * 12 + i.months, i.hours * 60 + i.minutes
    us = months * _MONTH_US + i.days * _DAY_US + minutes * 60_000_000 + i.us
    if us not in _INT64:
        raise ValueError("an interval of more than 292,000 years has no number of µs in 64 bits")
    return b"%d" % us


def _exact_us(text: bytes) -> bytes:
    """Debezium computes in double precision, and reads an infinity as an empty interval."""
    if text in _INFINITY_US:
        return b"0"
    i = parse_interval(text)
    days = (i.years * 12 + i.months) * _DAYS_PER_MONTH + i.days
    whole = int(i.us / 1_000_000)
    second = whole + (i.us - whole * 1_000_000) / 1_000_000.0
    seconds = ((days * 24 + i.hours) * 60 + i.minutes) * 60 + second
    return b"%d" % max(_INT64[0], min(_INT64[-1], int(seconds * 1e6)))


def _iso(text: bytes) -> bytes:
    return b'"%b"' % text if text in _INFINITY_US else _exact_iso(text)


def _exact_iso(text: bytes) -> bytes:
    i = Interval(0, 0, 0, 0, 0, 0) if text in _INFINITY_US else parse_interval(text)
    whole, fraction_us = divmod(abs(i.us), 1_000_000)
    seconds = (b"-" if i.us < 0 else b"") + b"%d" % whole
    if fraction_us:
        seconds += (b".%06d" % fraction_us).rstrip(b"0")
    return b'"P%dY%dM%dDT%dH%dM%bS"' % (i.years, i.months, i.days, i.hours, i.minutes, seconds)
