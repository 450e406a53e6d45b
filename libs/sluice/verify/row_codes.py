"""Rows of a table and their raw records as codes, 8 bytes for each column, so that a difference can be named. Pure.

A code is Python's own hash of a value's JSON. It has a random seed in each process, so it compares within one process.
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
"""The change left the column out: the value is in an earlier record of the key."""
UNKNOWN = 2
"""The change left the column out, and no record has the value."""

_RESERVED = (ABSENT, LEFT_OUT, UNKNOWN)
_dumps = orjson.dumps


def code_of(value: Any) -> int:
    # Of the value's JSON: hash(1) is hash(True), and hash("1") is hash(b"1").
    code = hash(_dumps(value))
    return code if code not in _RESERVED else code + len(_RESERVED)


_NULL = code_of(None)
_NO_COLUMNS: Mapping[str, int] = {}


class Columns:
    """The columns read so far, and the place of each in a row's codes."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._at: dict[str, int] = {}

    def codes(self, row: Mapping[str, Any], left_out: Mapping[str, int] = _NO_COLUMNS) -> array[int]:
        """The codes of a row. `left_out`: the columns that the change left out, each with LEFT_OUT or UNKNOWN."""
        if not left_out and list(row) == self.names:
            # Nearly every row has all columns that were read so far, in their order.
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
        """Columns that differ between the table's `row` and raw. A column that raw never had cannot be judged."""
        for at, (name, wanted) in enumerate(zip(self.names, row, strict=False)):
            code = published[at] if at < len(published) else ABSENT
            # A column that was added later is null in the table, and missing in older records: no difference.
            alike = code in (wanted, LEFT_OUT, UNKNOWN) or (code == ABSENT and wanted == _NULL)
            if wanted != ABSENT and not alike:
                yield name


def unpacked(codes: bytes) -> array[int]:
    found = array("q")
    found.frombytes(codes)
    return found


def filled(codes: array[int], before: Codes) -> array[int]:
    """A change's codes, with the columns that it left out taken from the state before it, as the mapper does."""
    for at, code in enumerate(codes):
        if code == LEFT_OUT and at < len(before) and before[at] != ABSENT:
            codes[at] = before[at]
    return codes
