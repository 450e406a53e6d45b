"""Values in the binary format of Postgres's COPY: each value is its size as four bytes, then its bytes.

The sink packs rows itself: psycopg's `write_row` costs 8 µs for a row of 20 columns, and needs Python values, which
cost more than the row. The tests compare every packed value with the one that psycopg reads back.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sluice.times import POSTGRES_EPOCH_US

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
_POSTGRES_EPOCH_DAYS = POSTGRES_EPOCH_US // 86_400_000_000
_NUMERIC_BASE = 10_000
_NUMERIC_DIGITS = 4  # the decimal digits in one digit of base 10,000
# By `scale` modulo 4: the factor that appends zeros until the digits after the point fill whole digits of base 10,000.
_SHIFTS = (1, 1000, 100, 10)

pack_size = struct.Struct(">i").pack
"""The size of a value, which precedes it."""
# Each of these packs the size and the value.
_long = struct.Struct(">iq").pack
_int = struct.Struct(">ii").pack
_origin = struct.Struct(">hiiiiiqi").pack  # the number of columns comes first
_numeric = struct.Struct(">ihhHh").pack
_numeric_3 = struct.Struct(">ihhHh3H").pack
_array = struct.Struct(">iiIii").pack


def pack_bytes(value: bytes) -> bytes:
    """A `bytea`, or a `text` in UTF-8."""
    return pack_size(len(value)) + value


def pack_jsonb(text: bytes) -> bytes:
    return pack_size(len(text) + 1) + b"\1" + text  # 1 is the version of jsonb's binary format


def pack_bigint(number: int) -> bytes:
    return _long(8, number)


def pack_timestamp(us: int) -> bytes:
    """A `timestamptz`. `us`: Unix microseconds."""
    return _long(8, us - POSTGRES_EPOCH_US)


def pack_date(days: int) -> bytes:
    """A `date`. `days`: since 1970-01-01."""
    return _int(4, days - _POSTGRES_EPOCH_DAYS)


def pack_bool(value: bool) -> bytes:
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def pack_numeric(unscaled: int, scale: int) -> bytes:
    """The numeric `unscaled` / 10^`scale`. Postgres stores a numeric as digits of base 10,000, and ignores zeros before
    the first and after the last of them."""
    after_point = -(-scale // _NUMERIC_DIGITS)
    rest = unscaled * _SHIFTS[scale % _NUMERIC_DIGITS]
    if 0 <= rest < _NUMERIC_BASE**3:  # most amounts: this takes half of the time of the loop
        rest, last = divmod(rest, _NUMERIC_BASE)
        return _numeric_3(14, 3, 2 - after_point, 0, scale, *divmod(rest, _NUMERIC_BASE), last)
    rest, digits = abs(rest), []
    while rest:
        rest, digit = divmod(rest, _NUMERIC_BASE)
        digits.append(digit)
    count, sign = len(digits), 0x4000 if unscaled < 0 else 0
    head = _numeric(8 + 2 * count, count, count - 1 - after_point, sign, scale)
    return head + struct.pack(f">{count}H", *reversed(digits))


def pack_array(item_oid: int, items: Sequence[bytes]) -> bytes:
    """A one-dimensional array of packed `items`. `item_oid`: the oid of their type."""
    if not items:
        return pack_size(12) + struct.pack(">iiI", 0, 0, item_oid)
    body = b"".join(items)
    return pack_size(20 + len(body)) + _array(1, NULL in items, item_oid, len(items), 1) + body


def pack_origin(columns: int, epoch: int, partition: int, offset: int, entity_id: bytes) -> bytes:
    """The start of a packed row: the number of its `columns`, then epoch, partition, offset and entity id."""
    return _origin(columns, 4, epoch, 4, partition, 8, offset, len(entity_id)) + entity_id
