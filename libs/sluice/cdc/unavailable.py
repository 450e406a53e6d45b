"""The JSON for a large value that an update left out, because it did not change."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from uuid import UUID

import orjson

from sluice.cdc.column_json import PgType
from sluice.cdc.debezium_errors import is_text
from sluice.cdc.event_form import EventForm
from sluice.cdc.values.binaries import encoded_bytes
from sluice.cdc.values.hstore import entries_of, json_text

_TEXT_ARRAYS = (1009, 1015, 1014, 199, 3807)  # text, varchar, bpchar, json, jsonb
_INTEGER_ARRAYS = (1007, 1182, 1016)  # int4, date, int8
_BYTEA, _BYTEA_ARRAY, _UUID_ARRAY = 17, 1001, 2951


def unavailable_json(types: Mapping[int, PgType], oid: int, form: EventForm) -> bytes:
    """The JSON of `form.unavailable` for a column of the type `oid`. Debezium gives it the form of the type, where it
    knows one."""
    text = form.unavailable
    plain: bytes = orjson.dumps(text)
    if not form.debezium:
        return plain
    known = types.get(oid, PgType(oid))
    if known.base:
        return unavailable_json(types, known.base, form)
    if oid in _TEXT_ARRAYS:
        return b"[%b]" % plain
    if oid in _INTEGER_ARRAYS:
        return orjson.dumps([byte - 256 if byte > 127 else byte for byte in text.encode()])
    if oid == _UUID_ARRAY:
        return orjson.dumps([str(_name_uuid(text))])
    if oid == _BYTEA_ARRAY:
        return b"[%b]" % encoded_bytes(form, text.encode())
    if oid == _BYTEA:
        return _bytea(form, plain)
    if known.name == "hstore" and form.hstores != "postgres":
        entries = entries_of({text: text})
        return entries if form.hstores == "map" else json_text(entries)
    # Debezium gives the text to every other type too. Where the schema of the type is no text, it then writes null.
    return plain if is_text(types, oid, form) or not form.exact else b"null"


def _bytea(form: EventForm, plain: bytes) -> bytes:
    if form.binaries == "hex":
        return plain  # the text itself, as Debezium writes it
    if form.binaries != "bytes" and form.exact:
        return b"null"
    return encoded_bytes(form, form.unavailable.encode())


def _name_uuid(text: str) -> UUID:
    return UUID(bytes=md5(text.encode(), usedforsecurity=False).digest(), version=3)
