"""What a writer of column values is, and the writers that most types share.

A writer takes the text of a non-null value as Postgres prints it, and returns JSON. It may raise any error for a text
that it cannot read; then the caller publishes the text itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

ToJson = Callable[[bytes], bytes]


class Inline(NamedTuple):
    """A writer as an expression, in which `$` stands for the text. `names`: what the expression uses; a name has one
    meaning in all expressions. Generated code contains the expression: a call costs as much as most conversions."""

    code: str
    names: Mapping[str, Any] = {}


_INLINE: dict[ToJson, Inline] = {}


def set_inline(writer: ToJson, code: str, **names: Any) -> None:
    """Register the expression that does what `writer` does."""
    _INLINE[writer] = Inline(code, names)


def inline_of(writer: ToJson) -> Inline | None:
    """The expression that does what `writer` does; None if the writer must be called."""
    return _INLINE.get(writer)


def verbatim(text: bytes) -> bytes:
    """The text itself, for types whose text is JSON."""
    return text


def quoted(text: bytes) -> bytes:
    """The text in quotes, for types whose text contains no character that JSON escapes."""
    return b'"%b"' % text


def string(text: bytes) -> bytes:
    """A JSON string."""
    return orjson.dumps(text.decode())


def null(text: bytes) -> bytes:
    """JSON's null for every value."""
    return b"null"


set_inline(verbatim, "$")
set_inline(quoted, "b'\"%b\"' % $")
set_inline(string, "dumps($.decode())", dumps=orjson.dumps)
