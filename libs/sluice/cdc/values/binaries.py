"""Writers of binary values: `binary.handling.mode` for bytea, and strings of bits."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

from sluice.cdc.event_form import EventForm
from sluice.cdc.values.numbers import boolean
from sluice.cdc.values.writer import ToJson, quoted


def bytea_writer(form: EventForm) -> ToJson:
    """The writer of a bytea column. Connect writes bytes in JSON as base64: `bytes` and `base64` differ in schemas
    only."""
    return {"hex": _hex, "base64-url-safe": _base64_url_safe}.get(form.binaries, _base64)


def bits_writer(form: EventForm, length: int) -> ToJson:
    """The writer of a bit or bit varying column. `length`: the declared number of bits, -1 if none.

    Debezium writes one bit as a boolean, and more bits as the bytes of their number: little endian, without zero bytes
    at the end.
    """
    if not form.debezium:
        return quoted
    return _one_bit if length == 1 else _bits


def encoded_bytes(form: EventForm, value: bytes) -> bytes:
    """The JSON of bytes that do not come from a bytea column."""
    return bytea_writer(form)(b"\\x" + value.hex().encode())


def _base64(text: bytes) -> bytes:
    return b'"%b"' % b64encode(bytes.fromhex(text[2:].decode()))


def _base64_url_safe(text: bytes) -> bytes:
    return b'"%b"' % urlsafe_b64encode(bytes.fromhex(text[2:].decode()))


def _hex(text: bytes) -> bytes:
    return b'"%b"' % text[2:]


def _one_bit(text: bytes) -> bytes:
    return boolean(b"t" if text == b"1" else b"f")


def _bits(text: bytes) -> bytes:
    value = int(text, 2) if text else 0
    return b'"%b"' % b64encode(value.to_bytes((value.bit_length() + 7) // 8, "little"))
