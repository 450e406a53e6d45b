"""Writers of numbers: `decimal.handling.mode` for numeric and money, and the other numeric types."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache, partial
from struct import pack, unpack

from sluice.cdc.event_form import EventForm
from sluice.cdc.values.writer import ToJson, quoted, set_inline

_SPECIAL = {b"NaN": b'"NAN"', b"Infinity": b'"POSITIVE_INFINITY"', b"-Infinity": b'"NEGATIVE_INFINITY"'}
# Python refuses to convert more digits with int(); numeric has up to 147,455.
_INT_DIGITS_MAX = 4_000


def boolean(text: bytes) -> bytes:
    """`true` or `false`."""
    return b"true" if text == b"t" else b"false"


set_inline(boolean, "b'true' if $ == b't' else b'false'")


def floating(text: bytes) -> bytes:
    """A number with a fraction or an exponent; NaN and the infinities as JSON strings, because JSON has no such
    numbers."""
    if text.isdigit() or text[1:].isdigit():
        return text + b".0"
    return b'"%b"' % text if text[-1:] in b"Ny" else text


def real(text: bytes) -> bytes:
    """A number in single precision. Java writes two digits where Postgres writes one: the smallest numbers differ."""
    if b"e-4" in text and len(text.lstrip(b"-")) == 5:
        (value,) = unpack("<f", pack("<f", float(text)))
        return b"%.1e" % value
    return floating(text)


def double(value: float) -> bytes:
    """The JSON of a number in double precision."""
    if value != value:
        return b'"NaN"'
    if value in (float("inf"), float("-inf")):
        return b'"Infinity"' if value > 0 else b'"-Infinity"'
    return repr(value).encode()


def numeric_scale(typmod: int) -> int | None:
    """The scale of a numeric column; None if the column declares no precision."""
    return None if typmod < 4 else ((typmod - 4 & 0x7FF) ^ 1_024) - 1_024


def _unsigned_scale(typmod: int) -> int:
    """A negative scale as Debezium reads it, without its sign; 0 if the scale is not negative."""
    scale = numeric_scale(typmod)
    return scale & 0x7FF if scale is not None and scale < 0 else 0


@lru_cache(maxsize=1_024)
def numeric_writer(form: EventForm, typmod: int) -> ToJson:
    """The writer of a numeric column."""
    match form.decimals:
        case "string":
            if not form.exact:
                return quoted
            unsigned = _unsigned_scale(typmod)
            return partial(_with_zeros, unsigned) if unsigned else _special_names
        case "double":
            return _as_double
        case "precise":
            scale = numeric_scale(typmod)
            if form.exact:
                scale = _unsigned_scale(typmod) or scale
            write = _any_scale if scale is None else partial(_unscaled, scale)
            return partial(_or_null, write) if form.exact or form.has_schemas else write


@lru_cache(maxsize=64)
def money_writer(form: EventForm) -> ToJson:
    """The writer of a money column."""
    match form.decimals:
        case "string":
            return _money_string
        case "double":
            return _money_double
        case "precise":
            return partial(_money_unscaled, form.money_digits)


def base64_of(unscaled: int) -> bytes:
    """The base64 of the number in two's complement, big endian, in as few bytes as possible."""
    size = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    return b64encode(unscaled.to_bytes(size, "big", signed=True))


def _integer(digits: bytes) -> int:
    return int(digits) if len(digits) < _INT_DIGITS_MAX else int(Decimal(digits.decode()))


def _unscaled(scale: int, text: bytes) -> bytes:
    whole, _, fraction = text.partition(b".")
    if scale < 0:
        return b'"%b"' % base64_of(_integer(whole) // 10**-scale)
    return b'"%b"' % base64_of(_integer(whole + fraction.ljust(scale, b"0")))


def _any_scale(text: bytes) -> bytes:
    whole, _, fraction = text.partition(b".")
    fraction = fraction.rstrip(b"0")
    return b'{"scale":%d,"value":"%b"}' % (len(fraction), base64_of(_integer(whole + fraction)))


def _or_null(write: Callable[[bytes], bytes], text: bytes) -> bytes:
    return b"null" if text in _SPECIAL else write(text)


def _special_names(text: bytes) -> bytes:
    return _SPECIAL.get(text) or b'"%b"' % text


def _with_zeros(scale: int, text: bytes) -> bytes:
    return _SPECIAL.get(text) or b'"%b.%b"' % (text, b"0" * scale)


def _as_double(text: bytes) -> bytes:
    return double(float(text))


def _money(text: bytes) -> Decimal:
    """The number of `-$1,234.50`, `($1.00)` or `1,234.50`. Raises an error for the text of some other locales."""
    negative = text[:1] in (b"-", b"(")
    number = text.decode().lstrip("-(").rstrip(")").lstrip()
    if not number[:1].isdigit() and number[:1] != ".":
        number = number[1:].lstrip()
    value = Decimal(number.replace(",", ""))
    return -value if negative else value


def _money_string(text: bytes) -> bytes:
    return b'"%b"' % f"{_money(text):f}".encode()


def _money_double(text: bytes) -> bytes:
    return double(float(_money(text)))


def _money_unscaled(digits: int, text: bytes) -> bytes:
    with localcontext() as context:
        context.prec = 40
        rounded = _money(text).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return b'"%b"' % base64_of(int(rounded.scaleb(digits)))
