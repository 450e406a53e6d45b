"""Converts a column's value from Postgres' text format to JSON, as Debezium writes values of the column's type.

Debezium's modes are `time.precision.mode=adaptive`, `decimal.handling.mode=string`, `binary.handling.mode=base64`.

| Postgres                | JSON                                                                            |
|-------------------------|---------------------------------------------------------------------------------|
| bool, integers, oid     | true/false, number (any size: nothing is rounded)                               |
| real, double            | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as strings                          |
| numeric                 | string, every digit kept, NaN and infinities included                           |
| date                    | days since 1970; ±infinity are the largest and smallest 32-bit integers         |
| time, timestamp         | ms where the column declares a precision of 3 or less, else µs                  |
| timestamptz             | `2024-01-31T10:00:00.000000Z`, with the declared number of digits; `infinity`   |
| bytea                   | base64                                                                          |
| arrays                  | (nested) arrays of the element type's JSON, null kept                           |
| domain                  | as its base type                                                                |
| everything else         | string: Postgres' own text (uuid, enum, json, jsonb, inet, ranges, interval, …) |

The values must come from a Postgres session with `SESSION_OPTIONS`, which `sluice.cdc.connection` sets.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import orjson

ToJson = Callable[[bytes], bytes]

SESSION_OPTIONS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}


class PgType(NamedTuple):
    """A type of Postgres. `element`: the oid of an array's element type, else 0. `base` and `base_typmod`: the base
    type of a domain, else 0 and -1."""

    oid: int
    element: int = 0
    base: int = 0
    base_typmod: int = -1


Nested = list["bytes | Nested | None"]

# One token: a brace or comma, a quoted element (group 1), or a bare one (group 2).
_TOKEN = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

_DAY_US = 86_400_000_000
_C = b"C"[0]
# Debezium's values for a timestamp's ±infinity: the JDBC driver's constants.
_TIMESTAMP_INFINITY = {b"infinity": b"9223372036825200000", b"-infinity": b"-9223372036832400000"}
_DATE_INFINITY = {b"infinity": 2_147_483_647, b"-infinity": -2_147_483_648}


def json_writer(types: Mapping[int, PgType], oid: int, typmod: int) -> ToJson:
    """The function that converts the text of a non-null value of type `oid` to JSON. `types`: the array and domain
    types, by oid. `typmod`: the column's type modifier, -1 if none."""
    known = types.get(oid, PgType(oid))
    if known.base:
        return json_writer(types, known.base, known.base_typmod if typmod == -1 else typmod)
    if known.element:
        return partial(_array, json_writer(types, known.element, typmod))
    if oid in _BY_PRECISION:
        return partial(_BY_PRECISION[oid], 6 if typmod < 0 else typmod)
    return _BY_OID.get(oid, _string)


def is_verbatim(writer: ToJson) -> bool:
    """Whether `writer` returns its argument: the text of the value already is JSON."""
    return writer is _verbatim


def _verbatim(text: bytes) -> bytes:
    return text


def _quoted(text: bytes) -> bytes:
    """The text in quotes, for types whose text contains no character that JSON escapes."""
    return b'"%b"' % text


def _string(text: bytes) -> bytes:
    return orjson.dumps(text.decode())


def _bool(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


def _float(text: bytes) -> bytes:
    if text.isdigit() or text[1:].isdigit():
        return text + b".0"
    return b'"%b"' % text if text[-1:] in b"Ny" else text  # NaN and Infinity are no JSON numbers, so they become texts


def _bytea(text: bytes) -> bytes:
    return b'"%b"' % b64encode(bytes.fromhex(text[2:].decode()))


def _array(element: ToJson, text: bytes) -> bytes:
    return _nested(element, _parse_array(text))


def _nested(element: ToJson, items: object) -> bytes:
    if isinstance(items, list):
        return b"[%b]" % b",".join([_nested(element, item) for item in items])
    return element(items) if isinstance(items, bytes) else b"null"


def _parse_array(text: bytes) -> Nested:
    """The elements of `{1,NULL,"a b"}` as bytes, None for NULL, a list per dimension. Explicit bounds (`[0:1]={…}`)
    are dropped. Quoting rules: PostgreSQL manual, 8.15.6."""
    if text.startswith(b"["):
        text = text[text.index(b"=") + 1 :]
    root: Nested = []
    open_lists: list[Nested] = [root]
    for token in _TOKEN.finditer(text):
        symbol = token[0]
        if symbol == b"{":
            inner: Nested = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif symbol == b"}":
            open_lists.pop()
        elif symbol != b",":
            open_lists[-1].append(_element(token))
    (only,) = root
    if not isinstance(only, list):
        raise ValueError("an array's text starts with a brace")
    return only


def _element(token: re.Match[bytes]) -> bytes | None:
    quoted, bare = token.groups()
    if quoted is not None:
        return _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
    return None if bare == b"NULL" else bare


@lru_cache(maxsize=8_192)
def days_since_1970(text: bytes) -> int:
    """The number of days from 1970-01-01 to an ISO date of any year, also with ` BC`. Proleptic Gregorian calendar;
    algorithm: Hinnant's `days_from_civil`."""
    if text in _DATE_INFINITY:
        return _DATE_INFINITY[text]
    era_text, _, bc = text.partition(b" ")
    year_text, month_text, day_text = era_text.split(b"-")
    year, month, day = int(year_text), int(month_text), int(day_text)
    if bc:
        year = 1 - year
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def _date(text: bytes) -> bytes:
    return b"%d" % days_since_1970(text)


def _time_us(text: bytes) -> int:
    """The µs from midnight to the time `HH:MM:SS[.ffffff]`."""
    seconds = int(text[0:2]) * 3_600 + int(text[3:5]) * 60 + int(text[6:8])
    return seconds * 1_000_000 + int(text[9:].ljust(6, b"0"))


def _time(precision: int, text: bytes) -> bytes:
    us = _time_us(text)
    return b"%d" % (us // 1_000 if precision <= 3 else us)


@lru_cache(maxsize=8_192)
def _minute_us(text: bytes) -> int:
    """The µs from 1970 to `YYYY-MM-DD HH:MM`. Cached, because rows that are written together share the minute."""
    return days_since_1970(text[:10]) * _DAY_US + (int(text[11:13]) * 60 + int(text[14:16])) * 60_000_000


def _timestamp(precision: int, text: bytes) -> bytes:
    if text[10:11] == b" " and text[-1] != _C:  # the usual case: four digits of year, no BC
        us = _minute_us(text[:16]) + int(text[17:].replace(b".", b"").ljust(8, b"0"))
        return b"%d" % (us // 1_000 if precision <= 3 else us)
    return _rare_timestamp(precision, text)


def _rare_timestamp(precision: int, text: bytes) -> bytes:
    if text in _TIMESTAMP_INFINITY:
        return _TIMESTAMP_INFINITY[text]
    day, _, time = text.partition(b" ")
    time, bc, _ = time.partition(b" BC")
    us = days_since_1970(day + bc) * _DAY_US + _time_us(time)
    return b"%d" % (us // 1_000 if precision <= 3 else us)


def _timestamptz(precision: int, text: bytes) -> bytes:
    if text[10:11] == b" " and text[-3:] == b"+00":
        if precision:
            return b'"%bT%b.%bZ"' % (text[:10], text[11:19], text[20:-3].ljust(precision, b"0"))
        return b'"%bT%bZ"' % (text[:10], text[11:19])
    return _rare_timestamptz(precision, text)


def _rare_timestamptz(precision: int, text: bytes) -> bytes:
    if text in _TIMESTAMP_INFINITY:
        return b'"%b"' % text
    day, _, time = text.partition(b" ")
    time, bc, _ = time.partition(b" BC")
    time = time.removesuffix(b"+00")
    if precision:
        time = time[:8] + b"." + time[9:].ljust(precision, b"0")
    return b'"%bT%bZ"' % (_iso_year(day, bool(bc)), time)


def _iso_year(day: bytes, bc: bool) -> bytes:
    """The date with the extended year of ISO 8601: `-0043` for 44 BC, `+12024` for a year of more than four digits."""
    if not bc and day[4:5] == b"-":
        return day
    year_text, month, day_of_month = day.split(b"-")
    year = 1 - int(year_text) if bc else int(year_text)
    sign = b"-" if year < 0 else b"+" if year > 9_999 else b""
    return b"%b%04d-%b-%b" % (sign, abs(year), month, day_of_month)


_BY_PRECISION: dict[int, Callable[[int, bytes], bytes]] = {1083: _time, 1114: _timestamp, 1184: _timestamptz}
_BY_OID: dict[int, ToJson] = {
    16: _bool,
    17: _bytea,
    20: _verbatim,  # int8
    21: _verbatim,  # int2
    23: _verbatim,  # int4
    26: _verbatim,  # oid
    700: _float,
    701: _float,
    1082: _date,
    1700: _quoted,  # numeric
    2950: _quoted,  # uuid
}
