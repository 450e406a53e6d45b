"""Reads lines of COPY's text format. PostgreSQL manual, COPY, "Text Format"."""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MEANING = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def fields_of(line: bytes) -> list[bytes | None]:
    """The values of a line without its line feed; None for a null."""
    fields = line.split(b"\t")
    if b"\\" not in line:
        return [*fields]
    return [None if field == b"\\N" else _unescaped(field) if b"\\" in field else field for field in fields]


def _unescaped(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _MEANING.get(found[1], found[1]), field)
