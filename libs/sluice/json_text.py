"""Reads the JSON of source systems. All JSON that a source sends is read by this module, with these rules:

* A record is never re-encoded: `slices` cuts the bytes of each record out of the page.
* Integers are exact at any length; a number with a point or an exponent becomes `Decimal`, never a float.
* A number with an exponent beyond ±4000 is refused, because its digits would fill the memory.
* NaN, Infinity, control characters within strings and text after the value are not JSON: the page is refused.
* If a member occurs twice in an object, the last one counts.
* Nesting is limited by Python's recursion limit. A text with deeper nesting is refused without a crash.
* A path to a member is a text or a tuple of names. A dot in a text separates two names, unless a member's name contains
  the dot: the longest name that exists counts. So `@odata.nextLink` is one member, and `links.next` is the member
  `next` of `links`. If both `a.b` and `b` of `a` exist, `a.b` counts. In a tuple, each element is one name.

msgspec reads a text first. It refuses a lone surrogate (`"\\ud83d"`, half of an emoji), which JSON's grammar allows. A
record with a lone surrogate must not stop its page for ever, so the standard library then reads the text. Invalid UTF-8
within a record is left to the mapping: the mapper parks only that record.
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
    """Bytes are not the JSON that was expected. The error text says what is wrong, and never quotes the bytes."""


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
    """A JSON object does not contain the member that a path names."""


class NullBefore(Missing):
    """A path cannot be followed to its end, because a member on the way is null."""


def decode(text: bytes) -> Any:
    """The value of the JSON text `text`. Raises NotJson if it is not JSON."""
    try:
        return _VALUE.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_with_standard_library(text)


def encode(value: Any) -> bytes:
    """`value` as compact UTF-8 JSON. Members keep their order, and a `Decimal` becomes a number.

    Raises UnicodeEncodeError if a text contains half of a surrogate pair.
    """
    return _ENCODER.encode(value)


def member(text: bytes, path: Path) -> bytes:
    """The bytes of the member of `text` at `path`; for an empty path `text` itself.

    Raises Missing if the member does not exist, NotJson if a value on the way is not a JSON object.
    """
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
    """The path to a member as one text, for an error message."""
    return path if isinstance(path, str) else "/".join(path)


def _step(found: Container[str], path: Path) -> tuple[str, Path]:
    """The first name of `path` and the rest of the path. `found`: the member names of the object at this place."""
    if isinstance(path, tuple):
        return path[0], path[1:]
    name, beyond = path, ""
    while name not in found and "." in name:
        name, _, last = name.rpartition(".")
        beyond = f"{last}.{beyond}" if beyond else last
    return name, beyond


def slices(text: bytes, path: Path) -> list[bytes]:
    """The elements of the array at `path` in `text`, each as the bytes that the source sent.

    Raises Missing if there is no such member, NotJson if it is not an array.
    """
    found = member(text, path)
    if found.lstrip()[:1] != b"[":
        raise NotJson(f"{spelled(path) or 'the body'} is not an array")
    try:
        return [bytes(item) for item in _ARRAY.decode(found)]
    except (msgspec.MsgspecError, RecursionError):
        return list(_slow_array(found))


def members(text: bytes) -> dict[str, bytes]:
    """The members of the JSON object `text`, each as the bytes that the source sent. Raises NotJson if it is none."""
    if text.lstrip()[:1] != b"{":
        raise NotJson("not an object")
    try:
        return {name: bytes(value) for name, value in _OBJECT.decode(text).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return dict(_slow_object(text))


# The functions below are slow. They read texts that msgspec refuses although JSON's grammar allows them. Bytes that are
# not UTF-8 become surrogate escapes, so that the slices are still the bytes that the source sent.


def _refuse_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


# Finds the end of a JSON value in a text. The value itself is not used.
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
    """The error of the standard library's JSON reader as NotJson. The new text says what is wrong and where, but quotes
    nothing of the JSON."""
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
