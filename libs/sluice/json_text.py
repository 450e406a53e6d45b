"""JSON of source systems: one module reads it, by these rules.

* A record is never re-encoded: `slices` cuts each record's own bytes out of the page.
* Integers are exact at any length; a number with a point or an exponent becomes `Decimal`, never a float.
* A number with an exponent beyond ±4000 is refused: its digits would fill the memory.
* NaN, Infinity, control characters within strings and text behind the value are not JSON: the page is refused.
* If a member occurs twice, the last one counts.
* Nesting is bounded by the interpreter's recursion limit. Deeper text is refused, and nothing crashes.
* A path is a text or a tuple of names. In a text a dot leads into a member, unless a member's own name contains it: of
  the names that the text can begin with, the longest that exists counts. So `@odata.nextLink` is one member and
  `links.next` is `next` of `links`. Where both `a.b` and `b` of `a` exist, the first counts. A tuple is taken name by
  name.

msgspec reads first. It refuses a lone surrogate (`"\\ud83d"`, half of an emoji), which JSON's grammar allows. One such
record must not stop its page for ever, so the standard library's scanner reads next. Invalid UTF-8 within a record is
left to the mapping, which parks that record alone.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BLANK = " \t\n\r"
EXPONENT_MAX = 4_000
Path = str | tuple[str, ...]


class NotJson(ValueError):
    """The bytes are not the JSON that was expected; the text says what is wrong and never quotes them."""


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("beyond the range of decimals") from None
    if abs(number.adjusted()) > EXPONENT_MAX:
        raise ValueError("beyond what can be written out")
    return number


_VALUE = msgspec.json.Decoder(float_hook=_decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Missing(LookupError):
    """A member that a path names is not there."""


class NullBefore(Missing):
    """A member on the way to the one that a path names is null."""


def decode(text: bytes) -> Any:
    """The value of `text`; raises NotJson."""
    try:
        return _VALUE.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_with_standard_library(text)


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON, members in their order, decimals as numbers: for records that an author reshapes."""
    return _ENCODER.encode(value)


def member(text: bytes, path: Path) -> bytes:
    """The bytes of the member at `path` (empty: `text` itself); raises Missing or NotJson."""
    is_member = False
    while path:
        if is_member and text == b"null":
            raise NullBefore(f"no member {spelled(path)}")
        found = members(text)
        name, path = _step(found, path)
        if name not in found:
            raise Missing(f"no member {name}")
        text, is_member = found[name], True
    return text


def spelled(path: Path) -> str:
    """`path` for an error text."""
    return path if isinstance(path, str) else "/".join(path)


def _step(found: Container[str], path: Path) -> tuple[str, Path]:
    """The next name of `path` among `found`, and the path below it."""
    if isinstance(path, tuple):
        return path[0], path[1:]
    name, beyond = path, ""
    while name not in found and "." in name:
        name, _, last = name.rpartition(".")
        beyond = f"{last}.{beyond}" if beyond else last
    return name, beyond


def slices(text: bytes, path: Path) -> list[bytes]:
    """The elements of the array at `path`, each as the bytes that the source sent."""
    found = member(text, path)
    if found.lstrip()[:1] != b"[":
        raise NotJson(f"{spelled(path) or 'the body'} is not an array")
    try:
        return [bytes(item) for item in _ARRAY.decode(found)]
    except (msgspec.MsgspecError, RecursionError):
        return list(_slow_array(found))


def members(text: bytes) -> dict[str, bytes]:
    """The members of the object `text`, each as the bytes that the source sent; raises NotJson."""
    if text.lstrip()[:1] != b"{":
        raise NotJson("not an object")
    try:
        return {name: bytes(value) for name, value in _OBJECT.decode(text).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return dict(_slow_object(text))


# The slow way, for texts that msgspec refuses although the grammar allows them. Bytes that are not UTF-8 become
# surrogate escapes, so that the slices are still the bytes that the source sent.


def _refuse_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


# Only the end of a value counts; the value is dropped.
_SCANNER = json.JSONDecoder(parse_float=str, parse_constant=_refuse_constant)


def _decode_with_standard_library(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"), parse_float=_decimal, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise NotJson("not UTF-8") from None
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise _refused(error) from None


def _refused(error: ValueError) -> NotJson:
    """What the standard library refused, and where. Nothing of the text is quoted."""
    if isinstance(error, json.JSONDecodeError):
        return NotJson(f"not valid JSON at character {error.pos + 1}")
    return NotJson("NaN, Infinity, or a number out of range")


def _scan(text: str, at: int) -> tuple[Any, int]:
    try:
        return _SCANNER.raw_decode(text, at)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise _refused(error) from None


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _expect(text: str, at: int, allowed: str) -> tuple[str, int]:
    at = _past_blanks(text, at)
    if at >= len(text) or text[at] not in allowed:
        raise NotJson("not valid JSON")
    return text[at], at + 1


def _end(text: str, at: int) -> None:
    if _past_blanks(text, at) != len(text):
        raise NotJson("text follows the value")


def _cut(text: str, start: int, end: int) -> bytes:
    return text[start:end].encode("utf-8", "surrogateescape")


def _slow_array(raw: bytes) -> Iterator[bytes]:
    text = raw.decode("utf-8", "surrogateescape")
    _, at = _expect(text, 0, "[")
    at = _past_blanks(text, at)
    mark = "]" if text[at : at + 1] == "]" else ","
    at += mark == "]"
    while mark == ",":
        start = _past_blanks(text, at)
        _, end = _scan(text, start)
        yield _cut(text, start, end)
        mark, at = _expect(text, end, ",]")
    _end(text, at)


def _slow_object(raw: bytes) -> Iterator[tuple[str, bytes]]:
    text = raw.decode("utf-8", "surrogateescape")
    _, at = _expect(text, 0, "{")
    at = _past_blanks(text, at)
    mark = "}" if text[at : at + 1] == "}" else ","
    at += mark == "}"
    while mark == ",":
        name, at = _scan(text, _past_blanks(text, at))
        if not isinstance(name, str):
            raise NotJson("not valid JSON")
        _, at = _expect(text, at, ":")
        start = _past_blanks(text, at)
        _, end = _scan(text, start)
        yield name, _cut(text, start, end)
        mark, at = _expect(text, end, ",}")
    _end(text, at)
