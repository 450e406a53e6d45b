"""The types a field of an entity can have, found from its annotation.

A field type decides the field's JSON in contributions, its Avro in canonical records and its column in the table.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import JsonValue

from sluice.entities.values import DECIMAL_PRECISION, DECIMAL_SCALE, MONEY_SCALE, Money, Scale, Unit

Kind = Literal["string", "int", "bool", "float", "decimal", "date", "timestamp", "money", "bytes", "list", "json"]

_PLAIN: dict[type, Kind] = {
    str: "string",
    int: "int",
    bool: "bool",
    float: "float",
    Decimal: "decimal",
    date: "date",
    datetime: "timestamp",
    Money: "money",
    bytes: "bytes",
}


@dataclass(frozen=True)
class FieldType:
    """One field: its kind, whether it may be null, for decimals and money its digits, for a list what an item is."""

    kind: Kind
    nullable: bool
    precision: int = 0
    scale: int = 0
    unit: str = ""
    item: FieldType | None = None


def field_type(annotation: Any, markers: tuple[object, ...]) -> FieldType:
    """Read a field's annotation and markers.

    Raises TypeError, naming the annotation, for a type that has no place in a contract.
    """
    flat = list(_alternatives(annotation))
    inner = [part for part in flat if part is not type(None) and not isinstance(part, _Marker)]
    every = (*markers, *(part.value for part in flat if isinstance(part, _Marker)))
    kinds = {_kind(part) for part in inner}
    if len(kinds) != 1 or (kinds == {"list"} and len(inner) != 1):
        raise TypeError(f"{annotation!r} is not one type; a field has one type, and may have None beside it")
    kind = kinds.pop()
    if kind == "list":
        if any(isinstance(marker, Scale | Unit) for marker in every):
            raise TypeError("Scale and Unit stand with the item: list[Annotated[Decimal, Scale(8, 2)]]")
        return FieldType(kind, type(None) in flat, item=_item(inner[0]))
    scale = next((marker for marker in every if isinstance(marker, Scale)), _default_scale(kind))
    if scale is not None and kind not in ("decimal", "money"):
        raise TypeError("Scale stands with a Decimal or Money")
    unit = next((marker.symbol for marker in every if isinstance(marker, Unit)), "")
    nullable = type(None) in flat
    return FieldType(kind, nullable, scale.precision if scale else 0, scale.scale if scale else 0, unit)


@dataclass(frozen=True)
class _Marker:
    value: object


def markers_of(annotation: Any) -> tuple[object, ...]:
    """All markers inside an annotation, also those under `| None`."""
    return tuple(part.value for part in _alternatives(annotation) if isinstance(part, _Marker))


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *marks = get_args(annotation)
        yield from _alternatives(inner)
        yield from (_Marker(mark) for mark in marks)
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    elif origin is Literal:
        yield from {type(value) for value in get_args(annotation)}
    else:
        yield annotation


def _kind(part: Any) -> Kind:
    if isinstance(part, type) and issubclass(part, Enum) and issubclass(part, str):
        return "string"
    if part is JsonValue:
        return "json"
    if get_origin(part) is list:
        return "list"
    try:
        return _PLAIN[part]
    except (KeyError, TypeError):
        known = ", ".join([*(kind.__name__ for kind in _PLAIN), "Json", "and lists of plain ones, such as list[str]"])
        raise TypeError(f"{part!r} cannot stand in an entity; known types: {known}") from None


def _item(part: Any) -> FieldType:
    """What a list holds. Raises TypeError for lists of lists, of JSON and of money, which no column can hold."""
    (inside,) = get_args(part)
    item = field_type(inside, ())
    if item.kind in ("list", "json", "money"):
        raise TypeError(f"{part!r}: a list holds plain values; for anything else take Json")
    return item


def _default_scale(kind: Kind) -> Scale | None:
    if kind == "decimal":
        return Scale(DECIMAL_PRECISION, DECIMAL_SCALE)
    return Scale(DECIMAL_PRECISION, MONEY_SCALE) if kind == "money" else None
