"""The order in which a Java program reads the entries of a HashMap: Debezium writes the entries of hstore so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def string_hash(text: str) -> int:
    """Java's `String.hashCode`, as an unsigned number."""
    value = 0
    units = text.encode("utf-16-be")
    for at in range(0, len(units), 2):
        value = (value * 31 + (units[at] << 8 | units[at + 1])) & 0xFFFFFFFF
    return value


def java_order(keys: Iterable[T], hash_of: Callable[[T], int]) -> list[T]:
    """The keys in the order of a HashMap that got them in the given order. The table has 16 places or more, at most
    three quarters of them used; a place keeps the order of insertion."""
    inserted = list(keys)
    places = 16
    while len(inserted) > places * 3 // 4:
        places *= 2
    return sorted(inserted, key=lambda key: _place(hash_of(key), places))


def _place(value: int, places: int) -> int:
    value &= 0xFFFFFFFF
    return (value ^ value >> 16) & places - 1
