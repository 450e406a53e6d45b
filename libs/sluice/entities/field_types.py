"""The types a field of an entity can have, found from its annotation.

A field type decides the field's JSON in contributions, its Avro in canonical records and its column in the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import NoneType, UnionType
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
_DEFAULT_SCALES: dict[Kind, Scale] = {
    "decimal": Scale(DECIMAL_PRECISION, DECIMAL_SCALE),
    "money": Scale(DECIMAL_PRECISION, MONEY_SCALE),
}


@dataclass(frozen=True)
class FieldType:
    """The type of one field. `precision`, `scale`: digits of decimals and money, else 0. `item`: the item type of a
    list."""

    kind: Kind
    nullable: bool
    precision: int = 0
    scale: int = 0
    unit: str = ""
    item: FieldType | None = None


def field_type(annotation: Any, metadata: Iterable[object] = ()) -> tuple[FieldType, list[object]]:
    """The type that a field's annotation states, and all markers of the field, those in `metadata` first.

    Raises TypeError, with the annotation, for a type that no field can have.
    """
    alternatives, inner = _flattened(annotation)
    markers = [*metadata, *inner]
    types_ = [one for one in alternatives if one is not NoneType]
    kinds = {_kind(one) for one in types_}
    if len(kinds) != 1 or (kinds == {"list"} and len(types_) != 1):
        raise TypeError(f"{annotation!r} is not one type; a field has one type, or one type | None")
    kind, nullable = kinds.pop(), NoneType in alternatives
    if kind == "list":
        if any(isinstance(marker, Scale | Unit) for marker in markers):
            raise TypeError("Scale and Unit belong to the item: list[Annotated[Decimal, Scale(8, 2)]]")
        return FieldType(kind, nullable, item=_item(types_[0])), markers
    scale = next((marker for marker in markers if isinstance(marker, Scale)), _DEFAULT_SCALES.get(kind))
    if scale is not None and kind not in _DEFAULT_SCALES:
        raise TypeError("Scale belongs to a Decimal or Money")
    unit = next((marker.symbol for marker in markers if isinstance(marker, Unit)), "")
    digits = (scale.precision, scale.scale) if scale else (0, 0)
    return FieldType(kind, nullable, *digits, unit), markers


def _flattened(annotation: Any) -> tuple[list[Any], list[object]]:
    """The types of a union, and the markers at any depth: `Annotated[int, a] | None` has int, NoneType and a."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *markers = get_args(annotation)
        alternatives, more = _flattened(inner)
        return alternatives, [*more, *markers]
    if origin in (Union, UnionType):
        parts = [_flattened(part) for part in get_args(annotation)]
        return [one for part in parts for one in part[0]], [one for part in parts for one in part[1]]
    if origin is Literal:
        return list({type(value) for value in get_args(annotation)}), []
    return [annotation], []


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
        raise TypeError(f"{part!r} is no type of a field; known types: {known}") from None


def _item(part: Any) -> FieldType:
    """The item type of a list. Raises TypeError for lists of lists, JSON or money, which no column type can store."""
    (inside,) = get_args(part)
    item, _ = field_type(inside)
    if item.kind in ("list", "json", "money"):
        raise TypeError(f"{part!r}: a list has plain items. Next: for anything else take Json")
    return item
