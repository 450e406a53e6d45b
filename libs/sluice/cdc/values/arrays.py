"""Reads the text of arrays and writes it as JSON arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sluice.cdc.values.writer import ToJson

Nested = list["bytes | Nested | None"]

# One token: a brace or comma, a quoted element (group 1), or a bare one (group 2).
_TOKEN = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def array(element: ToJson, text: bytes) -> bytes:
    """An array of any number of dimensions. `element`: the writer of the element type."""
    return _nested(element, parse_array(text))


def flat_array(element: ToJson, text: bytes) -> bytes:
    """An array as Debezium writes it: null stands for each inner array."""
    items = [b"null" if not isinstance(item, bytes) else element(item) for item in parse_array(text)]
    return b"[%b]" % b",".join(items)


def joined_array(element: ToJson, text: bytes) -> bytes:
    """An array of any number of dimensions with all its elements in one, because a schema has one dimension."""
    return b"[%b]" % b",".join(_joined(element, parse_array(text)))


def _joined(element: ToJson, items: Nested) -> Iterator[bytes]:
    for item in items:
        if isinstance(item, list):
            yield from _joined(element, item)
        else:
            yield b"null" if item is None else element(item)


def _nested(element: ToJson, items: object) -> bytes:
    if isinstance(items, list):
        return b"[%b]" % b",".join([_nested(element, item) for item in items])
    return element(items) if isinstance(items, bytes) else b"null"


def parse_array(text: bytes) -> Nested:
    """The elements of `{1,NULL,"a b"}` as bytes, None for NULL, a list per dimension. Explicit bounds (`[0:1]={…}`)
    are dropped. Quoting rules: PostgreSQL manual, 8.15.6."""
    if text.startswith(b"["):
        text = text[text.index(b"=") + 1 :]
    root: Nested = []
    open_lists: list[Nested] = [root]
    for token in _TOKEN.finditer(text):
        symbol = token[0]
        if symbol == b"{":
            inner: Nested = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif symbol == b"}":
            open_lists.pop()
        elif symbol != b",":
            open_lists[-1].append(_element(token))
    (only,) = root
    if not isinstance(only, list):
        raise ValueError("an array's text starts with a brace")
    return only


def _element(token: re.Match[bytes]) -> bytes | None:
    quoted, bare = token.groups()
    if quoted is not None:
        return _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
    return None if bare == b"NULL" else bare
