"""From a field's Python value to its JSON in a contribution.

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
from typing import Any

from sluice.canonical_json import canonical_bytes
from sluice.entities.field_types import FieldType, Kind
from sluice.entities.values import Money
from sluice.errors import DeadRecord
from sluice.times import INSTANTS, to_us

Json = Any
Encode = Callable[[Any], Json]

_CONTEXT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_INT64 = range(-(2**63), 2**63)
STORED_JSON_LEVELS_MAX = 64


def encoder(where: str, field: FieldType) -> Encode:
    """The encoder of one field. `where` ("worker.base_pay") is part of the reason of a `DeadRecord`."""
    encode = _ENCODERS[field.kind](where, field)

    def nullable(value: Any) -> Json:
        return None if value is None else encode(value)

    def required(value: Any) -> Json:
        if value is None:
            raise DeadRecord("null-in-required-field", f"{where} is null, and the contract does not allow it")
        return encode(value)

    return nullable if field.nullable else required


def microseconds(value: datetime, where: str) -> int:
    """Microseconds since 1970 UTC, exact. Raises DeadRecord for a time without a zone or outside of INSTANTS."""
    if value.tzinfo is None:
        raise DeadRecord("time-without-zone", f"{where} has no time zone; say in the mapping which one it is in")
    return instant(to_us(value), where)


def instant(micros: int, where: str) -> int:
    """`micros` if it is one of INSTANTS; raises DeadRecord."""
    if micros not in INSTANTS:
        raise DeadRecord("time-out-of-range", f"{where} is outside of the years 0001 to 9999 (UTC)")
    return micros


def _wrong(where: str, wanted: str, value: object) -> DeadRecord:
    return DeadRecord("wrong-type", f"{where} wants {wanted}, got {type(value).__name__}")


def _string(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
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
        return value

    return encode


def _int(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if type(value) is not int:
            raise _wrong(where, "an integer", value)
        if value not in _INT64:
            raise DeadRecord("number-out-of-range", f"{where} does not fit 64 bits")
        return value

    return encode


def _bool(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if type(value) is not bool:
            raise _wrong(where, "a boolean", value)
        return value

    return encode


def _float(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if type(value) not in (float, int):
            raise _wrong(where, "a number", value)
        if not math.isfinite(value):
            raise DeadRecord("not-finite", f"{where} is NaN or infinite")
        return float(value) + 0.0  # + 0.0: minus zero is the same value, and would be another hash

    return encode


def _decimal(where: str, field: FieldType) -> Encode:
    quantum = Decimal(1).scaleb(-field.scale)
    limit = Decimal(10) ** (field.precision - field.scale)

    def encode(value: Any) -> Json:
        if type(value) is not Decimal:
            raise _wrong(where, "a decimal", value)
        if not value.is_finite():
            raise DeadRecord("not-finite", f"{where} is NaN or infinite")
        try:
            rounded = value.quantize(quantum, context=_CONTEXT)
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
        if len(currency) != 3 or not (currency.isascii() and currency.isalpha() and currency.isupper()):
            raise DeadRecord("bad-currency", f"{where}.currency is not three capital letters")
        return {"amount": amount(value.amount), "currency": currency}

    return encode


def _date(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if type(value) is not date:
            raise _wrong(where, "a date", value)
        return value.isoformat()

    return encode


def _timestamp(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if not isinstance(value, datetime):
            raise _wrong(where, "a time", value)
        return microseconds(value, where)

    return encode


def _bytes(where: str, _: FieldType) -> Encode:
    def encode(value: Any) -> Json:
        if not isinstance(value, bytes):
            raise _wrong(where, "bytes", value)
        return base64.b64encode(value).decode("ascii")

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


def _json(where: str, field: FieldType) -> Encode:
    text = _string(where, field)

    def checked(value: Any, depth: int) -> Any:
        if depth > STORED_JSON_LEVELS_MAX:
            raise DeadRecord("wrong-type", f"{where} is nested more than {STORED_JSON_LEVELS_MAX} deep")
        if value is None or type(value) is bool:
            return value
        if isinstance(value, str):
            return text(value)
        if type(value) is int:
            if value not in _INT64:
                raise DeadRecord("number-out-of-range", f"{where} contains an integer that does not fit 64 bits")
            return value
        if type(value) is float:
            if not math.isfinite(value):
                raise DeadRecord("not-finite", f"{where} contains NaN or infinity")
            return value
        if isinstance(value, dict):
            return {_member(key): checked(inside, depth + 1) for key, inside in value.items()}
        if isinstance(value, list | tuple):
            return [checked(inside, depth + 1) for inside in value]
        raise _wrong(where, "a JSON value", value)

    def _member(key: Any) -> str:
        if not isinstance(key, str):
            raise _wrong(where, "texts as names of members", key)
        name: str = text(key)
        return name

    def encode(value: Any) -> Json:
        return canonical_bytes(checked(value, 0)).decode()

    return encode


_ENCODERS: dict[Kind, Callable[[str, FieldType], Encode]] = {
    "string": _string,
    "int": _int,
    "bool": _bool,
    "float": _float,
    "decimal": _decimal,
    "money": _money,
    "date": _date,
    "timestamp": _timestamp,
    "bytes": _bytes,
    "list": _list,
    "json": _json,
}
