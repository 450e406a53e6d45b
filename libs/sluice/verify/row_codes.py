"""Rows of a table and their raw records as columns of 8 bytes each, so that what differs can be named. Pure.

A code is Python's own hash of a value's JSON: keyed by chance for each process, which is enough to compare within one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

Codes = Sequence[int]

ABSENT = 0
"""The record is older than the column."""
LEFT_OUT = 1
"""The change did not say it: the value stands in an earlier record of the key."""
UNKNOWN = 2
"""The change did not say it, and no record tells it."""


_RESERVED = (ABSENT, LEFT_OUT, UNKNOWN)
_dumps = orjson.dumps


def code_of(value: Any) -> int:
    # Of the value's JSON: hash(1) is hash(True), and hash("1") is hash(b"1").
    code = hash(_dumps(value))
    return code if code not in _RESERVED else code + len(_RESERVED)


_NULL = code_of(None)


_NONE: Mapping[str, int] = {}


class Columns:
    """The columns met so far, and each one's place in a row's codes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._at: dict[str, int] = {}

    def codes(self, row: Mapping[str, Any], left_out: Mapping[str, int] = _NONE) -> array[int]:
        """A row; `left_out`: the columns that the change did not say, each with LEFT_OUT or UNKNOWN."""
        if not left_out and list(row) == self.names:
            # What nearly every row is: all columns that were met, in their order.
            codes = array("q", [hash(_dumps(value)) for value in row.values()])
            if not any(code in codes for code in _RESERVED):
                return codes
        return self._placed(row, left_out)

    def _placed(self, row: Mapping[str, Any], left_out: Mapping[str, int]) -> array[int]:
        for name in row:
            if name not in self._at:
                self._at[name] = len(self.names)
                self.names.append(name)
        codes = array("q", bytes(8 * len(self.names)))
        for name, value in row.items():
            codes[self._at[name]] = left_out[name] if name in left_out else code_of(value)
        return codes

    def differing(self, row: Codes, published: Codes) -> Iterator[str]:
        """Columns that the table has and raw tells otherwise. What raw left out and never told cannot be judged."""
        for at, (name, wanted) in enumerate(zip(self.names, row, strict=False)):
            told = published[at] if at < len(published) else ABSENT
            # A column that was added later is null in the table and not in the older records: no difference.
            alike = told in (wanted, LEFT_OUT, UNKNOWN) or (told == ABSENT and wanted == _NULL)
            if wanted != ABSENT and not alike:
                yield name


def unpacked(codes: bytes) -> array[int]:
    found = array("q")
    found.frombytes(codes)
    return found


def filled(codes: array[int], before: Codes) -> array[int]:
    """A change's codes with what it left out taken from the state before it, as the mapper fills it."""
    for at, code in enumerate(codes):
        if code == LEFT_OUT and at < len(before) and before[at] != ABSENT:
            codes[at] = before[at]
    return codes
