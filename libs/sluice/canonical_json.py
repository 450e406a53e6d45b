"""Canonical JSON (RFC 8785, the JSON Canonicalization Scheme): equal values have equal texts and hashes.

Sluice extends the RFC in one point: it writes integers beyond ±2^53 with all their digits. The RFC refuses them,
because its numbers are doubles.
"""

from typing import Any

import orjson
import rfc8785

_SAFE = 2**53 - 1


def canonical_bytes(value: Any) -> bytes:
    """`value` as canonical JSON in UTF-8. It may consist of dicts with string keys, lists, strings, integers, finite
    floats, booleans and None.

    Raises TypeError for any other type. If `value` contains no float, orjson writes it, about twenty times faster than
    the JSON library of the RFC.
    """
    if is_plain(value):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return _slow(value)


def is_plain(value: Any) -> bool:
    """Whether orjson writes `value` as RFC 8785 demands. orjson differs in the notation of floats and in the order of
    non-ASCII keys; the RFC refuses large integers."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_SAFE <= value <= _SAFE)
    if kind is dict:
        # A loop, because `all` with a generator needs twice the time.
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) is not str and not is_plain(item):
                return False
        return True
    return kind is list and all(map(is_plain, value))


def _slow(value: Any) -> bytes:
    """`value` as canonical JSON, written member by member because orjson would not write all of it canonically."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON has string keys only")
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return b"{%b}" % b",".join(orjson.dumps(key) + b":" + canonical_bytes(item) for key, item in ordered)
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(canonical_bytes, value))
    if type(value) is int:
        return str(value).encode()
    if isinstance(value, float):
        return bytes(rfc8785.dumps(value))
    raise TypeError(f"canonical JSON has no {type(value).__name__}")
