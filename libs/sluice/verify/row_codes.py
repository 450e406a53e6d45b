"""Encodes a row of a table, or its raw record, as one code of 8 bytes per column. A comparison of the codes names the
columns that differ. Pure.

A code is Python's hash of the value's JSON. The hash has a random seed per process, so codes are compared only within
one process.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

Codes = Sequence[int]

ABSENT = 0
"""The code of a column that the record does not have: the column was added later."""
LEFT_OUT = 1
"""The code of a column that the change left out; its value is in an earlier record of the key."""
UNKNOWN = 2
"""The code of a column that the change left out; no record has its value."""

_RESERVED = (ABSENT, LEFT_OUT, UNKNOWN)
_dumps = orjson.dumps


def code_of(value: Any) -> int:
    # The JSON is hashed, not the value: hash(1) is hash(True), and hash("1") is hash(b"1").
    code = hash(_dumps(value))
    return code if code not in _RESERVED else code + len(_RESERVED)


_NULL = code_of(None)
_NO_COLUMNS: Mapping[str, int] = {}


class Columns:
    """The columns of a table that were read so far, and the index of each column in the codes of a row."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._at: dict[str, int] = {}

    def codes(self, row: Mapping[str, Any], left_out: Mapping[str, int] = _NO_COLUMNS) -> array[int]:
        """The codes of a row. `left_out`: the columns that the change left out, each with LEFT_OUT or UNKNOWN."""
        if not left_out and list(row) == self.names:
            # The fast path: nearly every row has all columns that were read so far, in the same order.
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
        """Yields the names of columns whose code in the table's row differs from that in raw.

        Columns whose value raw does not contain are not compared.
        """
        for at, (name, wanted) in enumerate(zip(self.names, row, strict=False)):
            code = published[at] if at < len(published) else ABSENT
            # A column that was added later is null in the table and absent in older records. That is no difference.
            alike = code in (wanted, LEFT_OUT, UNKNOWN) or (code == ABSENT and wanted == _NULL)
            if wanted != ABSENT and not alike:
                yield name


def unpacked(codes: bytes) -> array[int]:
    found = array("q")
    found.frombytes(codes)
    return found


def filled(codes: array[int], before: Codes) -> array[int]:
    """The codes of a change. A column that the change left out gets its code from the state before it."""
    for at, code in enumerate(codes):
        if code == LEFT_OUT and at < len(before) and before[at] != ABSENT:
            codes[at] = before[at]
    return codes
