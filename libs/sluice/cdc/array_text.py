"""Postgres' text form of an array, `{1,NULL,"a b"}`, as nested lists. Quoting rules: PostgreSQL manual, 8.15.6."""

from __future__ import annotations

import re

Nested = list["bytes | Nested | None"]

# One token: a brace or comma, a quoted element (group 1), or a bare one (group 2).
_TOKEN = re.compile(rb'[{},]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def parse_array(text: bytes) -> Nested:
    """Elements as bytes, None for NULL, a list per dimension. Explicit bounds (`[0:1]={…}`) are dropped."""
    if text.startswith(b"["):
        text = text[text.index(b"=") + 1 :]
    root: Nested = []
    open_lists: list[Nested] = [root]
    for token in _TOKEN.finditer(text):
        what = token[0]
        if what == b"{":
            inner: Nested = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif what == b"}":
            open_lists.pop()
        elif what != b",":
            open_lists[-1].append(_element(token))
    (only,) = root
    if not isinstance(only, list):
        raise ValueError("an array's text begins with a brace")
    return only


def _element(token: re.Match[bytes]) -> bytes | None:
    quoted, bare = token.groups()
    if quoted is not None:
        return _ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted
    return None if bare == b"NULL" else bare
