"""Encoders: each turns the Python value of a field into the field's JSON in a contribution.

Decimals are strings at the declared scale (half-even), times integers of microseconds UTC, dates ISO, bytes base64,
money `{"amount", "currency"}`, lists lists of these, JSON values their canonical text (RFC 8785). An encoder refuses
what a topic or table downstream cannot store: U+0000, NaN, infinities, numbers beyond the declared digits, times
without a zone. It raises a `DeadRecord` that does not quote the value.
"""

import base64
import math
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from enum import Enum
from functools import partial
from typing import Any

from sluice.canonical_json import canonical_bytes
from sluice.entities.field_types import FieldType, Kind
from sluice.entities.values import Money
from sluice.errors import DeadRecord
from sluice.times import INSTANTS, to_us

Json = Any
Encode = Callable[[Any], Json]

ROUNDING = Context(prec=100, rounding=ROUND_HALF_EVEN)
CURRENCIES: set[str] = set()  # the valid currencies so far: at most 26³
_INT64 = range(-(2**63), 2**63)
STORED_JSON_LEVELS_MAX = 64


def encoder(where: str, field: FieldType) -> Encode:
    """The encoder of one field. `where` ("worker.base_pay") is part of the reason of a `DeadRecord`."""
    encode = value_encoder(where, field)

    def nullable(value: Any) -> Json:
        return None if value is None else encode(value)

    def required(value: Any) -> Json:
        if value is None:
            raise DeadRecord("null-in-required-field", f"{where} is null, and the contract does not allow it")
        return encode(value)

    return nullable if field.nullable else required


def value_encoder(where: str, field: FieldType) -> Encode:
    """As `encoder`, for a value that is not None."""
    if field.kind in _PLAIN:
        return partial(_PLAIN[field.kind], where)
    return _PREPARED[field.kind](where, field)


def microseconds(value: datetime, where: str) -> int:
    """Microseconds since 1970 UTC, exact. Raises DeadRecord for a time without a zone or outside of INSTANTS."""
    if value.tzinfo is None:
        raise DeadRecord("time-without-zone", f"{where} has no time zone; say in the mapping which one it is in")
    return instant(to_us(value), where)


def instant(micros: int, where: str) -> int:
    """Returns `micros` (µs since 1970 UTC). Raises DeadRecord if `micros` is not in INSTANTS, the years 1 to 9999."""
    if micros not in INSTANTS:
        raise DeadRecord("time-out-of-range", f"{where} is outside of the years 0001 to 9999 (UTC)")
    return micros


def _wrong(where: str, wanted: str, value: object) -> DeadRecord:
    return DeadRecord("wrong-type", f"{where} must be {wanted}, not {type(value).__name__}")


def _string(where: str, value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str):
        raise _wrong(where, "a string", value)
    if "\0" in value:
        raise DeadRecord("nul-character", f"{where} contains U+0000, which Postgres cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DeadRecord("invalid-unicode", f"{where} contains half of a surrogate pair") from None
    return value if type(value) is str else str.__str__(value)  # canonical JSON has no subclasses of str


def _int(where: str, value: Any) -> int:
    if type(value) is not int:
        raise _wrong(where, "an integer", value)
    if value not in _INT64:
        raise DeadRecord("number-out-of-range", f"{where} does not fit 64 bits")
    return value


def _bool(where: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(where, "a boolean", value)
    return value


def _float(where: str, value: Any) -> float:
    if type(value) not in (float, int):
        raise _wrong(where, "a number", value)
    if not math.isfinite(value):
        raise DeadRecord("not-finite", f"{where} is NaN or infinite")
    # + 0.0 turns minus zero into zero: both are the same value, but would have different hashes
    return float(value) + 0.0


def _date(where: str, value: Any) -> str:
    if type(value) is not date:
        raise _wrong(where, "a date", value)
    return value.isoformat()


def _timestamp(where: str, value: Any) -> int:
    if not isinstance(value, datetime):
        raise _wrong(where, "a time", value)
    return microseconds(value, where)


def _bytes(where: str, value: Any) -> str:
    if not isinstance(value, bytes):
        raise _wrong(where, "bytes", value)
    return base64.b64encode(value).decode("ascii")


def _decimal(where: str, field: FieldType) -> Encode:
    quantum = Decimal(1).scaleb(-field.scale)
    limit = Decimal(10) ** (field.precision - field.scale)

    def encode(value: Any) -> Json:
        if type(value) is not Decimal:
            raise _wrong(where, "a decimal", value)
        if not value.is_finite():
            raise DeadRecord("not-finite", f"{where} is NaN or infinite")
        try:
            rounded = value.quantize(quantum, context=ROUNDING)
        except InvalidOperation:
            rounded = limit
        if abs(rounded) >= limit:
            raise DeadRecord("number-out-of-range", f"{where} does not fit decimal({field.precision},{field.scale})")
        return format(rounded if rounded else abs(rounded), "f")

    return encode


def _money(where: str, field: FieldType) -> Encode:
    amount = _decimal(f"{where}.amount", field)

    def encode(value: Any) -> Json:
        if not isinstance(value, Money):
            raise _wrong(where, "money", value)
        currency = value.currency
        if currency not in CURRENCIES:
            if len(currency) != 3 or not (currency.isascii() and currency.isalpha() and currency.isupper()):
                raise DeadRecord("bad-currency", f"{where}.currency is not three capital letters")
            CURRENCIES.add(currency)
        return {"amount": amount(value.amount), "currency": currency}

    return encode


def _list(where: str, field: FieldType) -> Encode:
    if field.item is None:
        raise TypeError(f"{where}: a list without an item's type")
    item = encoder(f"an item of {where}", field.item)

    def encode(value: Any) -> Json:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return [item(one) for one in value]

    return encode


def _json(where: str, _: FieldType) -> Encode:
    inside = f"a value in {where}"

    def checked(value: Any, depth: int) -> Any:
        if depth > STORED_JSON_LEVELS_MAX:
            raise DeadRecord("wrong-type", f"{where} is nested more than {STORED_JSON_LEVELS_MAX} deep")
        match value:
            case None | bool():
                return value
            case str():
                return _string(inside, value)
            case int():
                return _int(inside, value)
            case float():
                return _float(inside, value)
            case dict():
                return {_string(inside, name): checked(member, depth + 1) for name, member in value.items()}
            case list() | tuple():
                return [checked(item, depth + 1) for item in value]
        raise _wrong(inside, "a JSON value", value)

    def encode(value: Any) -> Json:
        return canonical_bytes(checked(value, 0)).decode()

    return encode


_PLAIN: dict[Kind, Callable[[str, Any], Json]] = {
    "string": _string,
    "int": _int,
    "bool": _bool,
    "float": _float,
    "date": _date,
    "timestamp": _timestamp,
    "bytes": _bytes,
}
_PREPARED: dict[Kind, Callable[[str, FieldType], Encode]] = {
    "decimal": _decimal,
    "money": _money,
    "list": _list,
    "json": _json,
}
