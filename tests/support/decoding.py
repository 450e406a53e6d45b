"""The way back from a field's JSON in a contribution to its Python value, which the product does not need."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from sluice.entities import EntityContract, Money
from sluice.entities.field_types import FieldType, Kind
from sluice.times import from_us

_DECODERS: dict[Kind, Callable[[Any], Any]] = {
    "string": str,
    "int": int,
    "bool": bool,
    "float": float,
    "decimal": Decimal,
    "money": lambda value: Money(value["amount"], value["currency"]),
    "date": date.fromisoformat,
    "timestamp": from_us,
    "bytes": base64.b64decode,
    "json": json.loads,
}


def decoded(contract: EntityContract, field: str, value: Any) -> Any:
    return _decoded(contract.fields[field], value)


def _decoded(field: FieldType, value: Any) -> Any:
    if value is None:
        return None
    if field.item is not None:
        return [_decoded(field.item, one) for one in value]
    return _DECODERS[field.kind](value)
