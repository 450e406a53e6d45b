"""Writers of dates, times and timestamps: `time.precision.mode`."""

from __future__ import annotations

from functools import lru_cache, partial

from sluice.cdc.event_form import EventForm
from sluice.cdc.values.calendar import (
    DATE_INFINITY,
    days_since_1970,
    iso_date,
    iso_time,
    minute_us,
    split_timestamp,
    time_us,
)
from sluice.cdc.values.writer import ToJson, set_inline

_DAY_US = 86_400_000_000
_C = b"C"[0]
_INT64 = range(-(2**63), 2**63)
# The number of µs that Postgres' JDBC driver uses for the infinities.
_INFINITY_US = {b"infinity": 9_223_372_036_825_200_000, b"-infinity": -9_223_372_036_832_400_000}
# Debezium's dates for the infinities: constants that no other date equals.
_DEBEZIUM_DATES = {b"infinity": b"+5877611-06-21", b"-infinity": b"-5877611-06-22"}
_DEBEZIUM_DAYS = {b"infinity": b"2146033979", b"-infinity": b"-2147472691"}
# The days that Java's older class for dates gives, which Debezium uses in snapshots and in arrays.
_JDBC_DAYS = {b"infinity": b"-622191234", b"-infinity": b"-625821272"}
_DEBEZIUM_MOMENTS = {b"infinity": b"+292278994-08-16T23:00:00", b"-infinity": b"-292275055-05-16T23:00:00"}


class _Days(dict[bytes, bytes]):
    """The JSON of dates that were seen, by text. Emptied when it is full."""

    def __missing__(self, text: bytes) -> bytes:
        if len(self) >= 8_192:
            self.clear()
        self[text] = written = b"%d" % days_since_1970(text)
        return written


_days = _Days()


@lru_cache(maxsize=64)
def date_writer(form: EventForm) -> ToJson:
    """The writer of a date column."""
    if form.times == "isostring":
        return _exact_iso_date if form.exact else _iso_date
    return _exact_date if form.exact else date


@lru_cache(maxsize=1_024)
def time_writer(form: EventForm, typmod: int) -> ToJson:
    """The writer of a time column."""
    match form.times:
        case "isostring":
            return _exact_iso_time if form.exact else _iso_time
        case "connect":
            return _time_ms
        case "nanoseconds":
            return _time_ns
        case "adaptive" if 0 <= typmod <= 3:
            return _time_ms
        case _:
            return _time_us


@lru_cache(maxsize=1_024)
def timestamp_writer(form: EventForm, typmod: int) -> ToJson:
    """The writer of a timestamp column."""
    match form.times:
        case "isostring":
            return _exact_iso_timestamp if form.exact else _iso_timestamp
        case "nanoseconds":
            return _exact_timestamp_ns if form.exact else _timestamp_ns
        case "connect":
            return _timestamp_ms
        case "adaptive" | "adaptive_time_microseconds" if 0 <= typmod <= 3:
            return _timestamp_ms
        case _:
            return _exact_timestamp_us if form.exact else timestamp_us


@lru_cache(maxsize=16)
def timestamptz_writer(typmod: int) -> ToJson:
    """The writer of a timestamptz column: UTC, with the declared number of fraction digits."""
    return timestamptz_us if typmod in (-1, 6) else partial(_timestamptz, typmod)


def timetz_writer(form: EventForm) -> ToJson:
    """The writer of a timetz column. Debezium moves the time to UTC, which loses the offset: `exact` does so."""
    if not form.debezium:
        return _text
    return _timetz_utc if form.exact else _timetz


def date(text: bytes) -> bytes:
    """Days since 1970."""
    return _days[text]


set_inline(date, "days[$]", days=_days)


def _exact_date(text: bytes) -> bytes:
    return _DEBEZIUM_DAYS.get(text) or _days[text]


def _iso_date(text: bytes) -> bytes:
    if text in DATE_INFINITY:
        return b'"%b"' % text
    day, _, bc = text.partition(b" ")
    return b'"%bZ"' % iso_date(day, bool(bc))


def jdbc_date(form: EventForm) -> ToJson:
    """The writer of a date as Java's older class reads it: it takes a year before Christ for one after."""
    return _jdbc_iso_date if form.times == "isostring" else _jdbc_days


def _jdbc_days(text: bytes) -> bytes:
    return _JDBC_DAYS.get(text) or _days[text.removesuffix(b" BC")]


def _jdbc_iso_date(text: bytes) -> bytes:
    return _exact_iso_date(text.removesuffix(b" BC"))


def _exact_iso_date(text: bytes) -> bytes:
    return b'"%bZ"' % _DEBEZIUM_DATES[text] if text in _DEBEZIUM_DATES else _iso_date(text)


def _time_us(text: bytes) -> bytes:
    return b"%d" % time_us(text)


def _time_ms(text: bytes) -> bytes:
    return b"%d" % (time_us(text) // 1_000)


def _time_ns(text: bytes) -> bytes:
    return b"%d" % (time_us(text) * 1_000)


def _iso_time(text: bytes) -> bytes:
    return b'"%bZ"' % iso_time(text)


def _exact_iso_time(text: bytes) -> bytes:
    # Java's LocalTime has no 24:00: it wraps.
    return b'"00:00:00Z"' if text[:2] == b"24" else _iso_time(text)


def _us(text: bytes) -> int:
    """The µs from 1970 to a timestamp; for an infinity, the number of the JDBC driver."""
    if text[10:11] == b" " and text[-1] != _C:  # the usual case: four digits of year, no BC
        return minute_us(text[:16]) + int(text[17:].replace(b".", b"").ljust(8, b"0"))
    if text in _INFINITY_US:
        return _INFINITY_US[text]
    day, time = split_timestamp(text)
    return days_since_1970(day) * _DAY_US + time_us(time)


def timestamp_us(text: bytes) -> bytes:
    """µs since 1970."""
    return b"%d" % _us(text)


set_inline(
    timestamp_us,
    "b'%d' % (minute_us($[:16]) + int($[17:19] + $[20:])) if len($) == 26 and $[10] == 32 and $[25] < 58"
    " else timestamp_us($)",
    minute_us=minute_us,
    timestamp_us=timestamp_us,
)


def _exact_timestamp_us(text: bytes) -> bytes:
    """The arithmetic of Java: seconds that are too many µs for 64 bits become the largest number of µs, and adding
    their fraction starts again from the smallest."""
    if text in _INFINITY_US:
        return b"%d" % (_INT64[-1] if text == b"infinity" else _INT64[0])
    seconds, fraction_us = divmod(_us(text), 1_000_000)
    us = min(seconds * 1_000_000, _INT64[-1]) + fraction_us
    return b"%d" % (us if us in _INT64 else us - 2**64)


def _timestamp_ms(text: bytes) -> bytes:
    # For the infinities, the JDBC driver has the same number of ms and of µs: no timestamp of Postgres has so many ms.
    us = _us(text)
    return b"%d" % (us if text in _INFINITY_US else us // 1_000)


def _timestamp_ns(text: bytes) -> bytes:
    if text in _INFINITY_US:
        return b"%d" % (_INT64[-1] if text == b"infinity" else _INT64[0])
    ns = _us(text) * 1_000
    if ns not in _INT64:
        raise ValueError("a timestamp outside 1677 to 2262 has no number of ns in 64 bits")
    return b"%d" % ns


def _exact_timestamp_ns(text: bytes) -> bytes:
    return _timestamp_ns(text) if text in _INFINITY_US or _us(text) * 1_000 in _INT64 else b"null"


def _iso_timestamp(text: bytes) -> bytes:
    if text in _INFINITY_US:
        return b'"%b"' % text
    day, time = split_timestamp(text)
    day, _, bc = day.partition(b" ")
    return b'"%bT%bZ"' % (iso_date(day, bool(bc)), iso_time(time))


def _exact_iso_timestamp(text: bytes) -> bytes:
    return b'"%bZ"' % _DEBEZIUM_MOMENTS[text] if text in _DEBEZIUM_MOMENTS else _iso_timestamp(text)


def timestamptz_us(text: bytes) -> bytes:
    """`"2024-01-31T10:00:00.000000Z"`."""
    return _timestamptz(6, text)


set_inline(
    timestamptz_us,
    "b'\"%bT%bZ\"' % ($[:10], $[11:26]) if len($) == 29 and $[10] == 32 and $[26:] == b'+00' else timestamptz_us($)",
    timestamptz_us=timestamptz_us,
)


def _timestamptz(precision: int, text: bytes) -> bytes:
    if text[10:11] == b" " and text[-3:] == b"+00":
        if precision:
            return b'"%bT%b.%bZ"' % (text[:10], text[11:19], text[20:-3].ljust(precision, b"0"))
        return b'"%bT%bZ"' % (text[:10], text[11:19])
    return _rare_timestamptz(precision, text)


def _rare_timestamptz(precision: int, text: bytes) -> bytes:
    if text in _INFINITY_US:
        return b'"%b"' % text
    day, _, time = text.partition(b" ")
    time, bc, _ = time.partition(b" BC")
    time = time.removesuffix(b"+00")
    if precision:
        time = time[:8] + b"." + time[9:].ljust(precision, b"0")
    return b'"%bT%bZ"' % (iso_date(day, bool(bc)), time)


def _text(text: bytes) -> bytes:
    return b'"%b"' % text


def _split_offset(text: bytes) -> tuple[bytes, bytes]:
    at = max(text.rfind(b"+"), text.rfind(b"-"))
    return text[:at], text[at:]


def _timetz(text: bytes) -> bytes:
    time, offset = _split_offset(text)
    spelled = b"Z" if offset.strip(b"+-0:") == b"" else offset if b":" in offset else offset + b":00"
    return b'"%b%b"' % (iso_time(time), spelled)


def _timetz_utc(text: bytes) -> bytes:
    time, offset = _split_offset(text)
    if text == b"24:00:00+00":
        return b'"24:00:00Z"'
    if offset.count(b":") > 1:
        return b"null"
    hours, _, minutes = offset[1:].partition(b":")
    shift_us = (int(hours) * 60 + int(minutes or b"0")) * 60_000_000
    us = (time_us(time) + (shift_us if offset[:1] == b"-" else -shift_us)) % _DAY_US
    seconds, fraction_us = divmod(us, 1_000_000)
    spelled = b"%02d:%02d:%02d.%06d" % (seconds // 3_600, seconds // 60 % 60, seconds % 60, fraction_us)
    return b'"%bZ"' % iso_time(spelled)
