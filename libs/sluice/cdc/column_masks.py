"""Hides the values of columns, as Debezium's settings `column.truncate…` and `column.mask…` do. Keys are not masked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial

import orjson

from sluice.cdc.column_json import PgType
from sluice.cdc.event_form import ColumnMask, EventForm
from sluice.cdc.values.writer import ToJson

_BYTEA = 17
_CHARACTERS = (18, 19, 25, 1042, 1043)  # "char", name, text, bpchar, varchar
_WITH_LENGTH = (1042, 1043)


def masked_writer(
    types: Mapping[int, PgType], oid: int, typmod: int, mask: ColumnMask, form: EventForm, write: ToJson
) -> ToJson:
    """The writer that hides the values of a column of type `oid`. `write`: the writer of the values themselves.

    Only columns of characters are replaced by asterisks or a hash; others keep their values, as with Debezium.
    """
    base, modifier = _base_of(types, oid, typmod)
    length = modifier - 4 if base in _WITH_LENGTH and modifier >= 4 else 0
    if mask.kind == "truncate":
        if 0 < length <= mask.length:
            return write
        if base == _BYTEA and form.binaries == "bytes":
            return partial(_first_bytes, write, 2 * mask.length)
        return partial(_first_characters, write, mask.length)
    if not has_characters(types, oid):
        return write
    if mask.kind == "stars":
        return partial(_stars, stars(mask))
    digest = hashlib.new(mask.algorithm, mask.salt.encode(), usedforsecurity=False)
    return partial(_hash, digest, length or None)


def has_characters(types: Mapping[int, PgType], oid: int) -> bool:
    """Whether values of the type are replaced by asterisks or a hash."""
    base, _ = _base_of(types, oid, -1)
    known = types.get(base, PgType(base))
    return base in _CHARACTERS or known.is_enum or known.name == "citext"


def stars(mask: ColumnMask) -> bytes:
    """The JSON of a value that is replaced by asterisks. It also stands for NULL."""
    return b'"%b"' % (b"*" * mask.length)


def _base_of(types: Mapping[int, PgType], oid: int, typmod: int) -> tuple[int, int]:
    known = types.get(oid, PgType(oid))
    return _base_of(types, known.base, known.base_typmod if typmod == -1 else typmod) if known.base else (oid, typmod)


def _first_bytes(write: ToJson, digits: int, text: bytes) -> bytes:
    return write(text[: 2 + digits])


def _first_characters(write: ToJson, length: int, text: bytes) -> bytes:
    """The first characters of a text, as Java counts them: a character outside the basic plane counts twice."""
    written = write(text)
    if len(written) <= length + 2 or written[:1] != b'"':
        return written
    value: str = orjson.loads(written)
    units = value.encode("utf-16-le")[: 2 * length]
    return orjson.dumps(units.decode("utf-16-le", "ignore"))


def _stars(value: bytes, text: bytes) -> bytes:
    return value


def _hash(salted: hashlib._Hash, length: int | None, text: bytes) -> bytes:
    digest = salted.copy()
    digest.update(text)
    return b'"%b"' % digest.hexdigest()[:length].encode()
