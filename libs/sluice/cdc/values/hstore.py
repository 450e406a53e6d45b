"""Writers of hstore: `hstore.handling.mode`."""

from __future__ import annotations

import re

import orjson

from sluice.cdc.event_form import EventForm
from sluice.cdc.values.java_order import java_order, string_hash
from sluice.cdc.values.writer import ToJson, string

_TEXT = rb'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(_TEXT + rb"=>(?:NULL|" + _TEXT + rb")", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTROL = re.compile(rb"\\u00[01][0-9a-f]")


def hstore_writer(form: EventForm) -> ToJson:
    """The writer of an hstore column: a text that contains JSON, an object, or Postgres' text."""
    return {"json": _json_text, "map": _object}.get(form.hstores, string)


def entries_of(entries: dict[str, str | None]) -> bytes:
    """A JSON object with the entries in Debezium's order."""
    return orjson.dumps({key: entries[key] for key in java_order(entries, string_hash)})


def json_text(value: bytes) -> bytes:
    """JSON as a JSON string, with the digits of escaped control characters in upper case, as Debezium writes them."""
    if b"\\u00" in value:
        value = _CONTROL.sub(lambda found: b"\\u" + found[0][2:].upper(), value)
    return string(value)


def _entries(text: bytes) -> dict[str, str | None]:
    return {
        _plain(key): None if value is None else _plain(value)
        for key, value in map(re.Match.groups, _PAIR.finditer(text))
    }


def _plain(quoted: bytes) -> str:
    return (_ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted).decode()


def _object(text: bytes) -> bytes:
    return entries_of(_entries(text))


def _json_text(text: bytes) -> bytes:
    return json_text(entries_of(_entries(text)))
