"""Chooses the writer of a column's values: from Postgres' text format to JSON, in the form of the source's events.

With the form of Sluice (`DEFAULT_FORM`):

| Postgres                | JSON                                                                            |
|-------------------------|---------------------------------------------------------------------------------|
| bool, integers, oid     | true/false, number (any size: nothing is rounded)                               |
| real, double            | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as strings                          |
| numeric                 | string, every digit kept, NaN and infinities included                           |
| date                    | days since 1970; ±infinity are the largest and smallest 32-bit integers         |
| time, timestamp         | ms where the column declares a precision of 3 or less, else µs                  |
| timestamptz             | `2024-01-31T10:00:00.000000Z`, with the declared number of digits; `infinity`   |
| bytea                   | base64                                                                          |
| arrays                  | (nested) arrays of the element type's JSON, null kept                           |
| domain                  | as its base type                                                                |
| everything else         | string: Postgres' own text (uuid, enum, json, jsonb, inet, ranges, interval, …) |

The form of Debezium differs by its settings; `docs/reference/change-events.md` shows every type in every mode.
The values must come from a Postgres session with `SESSION_OPTIONS`, which `sluice.cdc.connection` sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sluice.cdc.event_form import DEFAULT_FORM, EventForm
from sluice.cdc.values import geometry
from sluice.cdc.values.arrays import array, flat_array, joined_array
from sluice.cdc.values.binaries import bits_writer, bytea_writer
from sluice.cdc.values.calendar import days_since_1970
from sluice.cdc.values.hstore import hstore_writer
from sluice.cdc.values.intervals import interval_writer
from sluice.cdc.values.numbers import boolean, floating, money_writer, numeric_writer, real
from sluice.cdc.values.times import date_writer, time_writer, timestamp_writer, timestamptz_writer, timetz_writer
from sluice.cdc.values.writer import ToJson, quoted, string, verbatim

__all__ = ["SESSION_OPTIONS", "PgType", "ToJson", "days_since_1970", "json_writer"]

SESSION_OPTIONS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}


class PgType(NamedTuple):
    """A type of Postgres. `element`: the oid of an array's element type, else 0. `base` and `base_typmod`: the base
    type of a domain, else 0 and -1. `name`: without the schema. `is_enum`: whether it is an enum.
    `labels`: those of an enum, in their order."""

    oid: int
    element: int = 0
    base: int = 0
    base_typmod: int = -1
    name: str = ""
    is_enum: bool = False
    labels: Sequence[str] = ()


def json_writer(types: Mapping[int, PgType], oid: int, typmod: int, form: EventForm = DEFAULT_FORM) -> ToJson:
    """The function that converts the text of a non-null value of type `oid` to JSON. `types`: the types that are not
    built in, and all arrays, by oid. `typmod`: the column's type modifier, -1 if none."""
    known = types.get(oid, PgType(oid))
    if known.base:
        return json_writer(types, known.base, known.base_typmod if typmod == -1 else typmod, form)
    if known.element:
        arrays = flat_array if form.exact else joined_array if form.has_schemas else array
        return partial(arrays, json_writer(types, known.element, typmod, form))
    if known.name == "hstore":
        return hstore_writer(form)
    if form.debezium:
        shaped = geometry.BY_OID.get(oid) or geometry.BY_NAME.get(known.name)
        if shaped:
            return shaped
    return _scalar_writer(oid, typmod, form)


def _scalar_writer(oid: int, typmod: int, form: EventForm) -> ToJson:
    match oid:
        case 17:
            return bytea_writer(form)
        case 700:
            return real if form.debezium else floating
        case 790:
            return money_writer(form) if form.debezium else string
        case 1082:
            return date_writer(form)
        case 1083:
            return time_writer(form, typmod)
        case 1114:
            return timestamp_writer(form, typmod)
        case 1184:
            return timestamptz_writer(typmod)
        case 1186:
            return interval_writer(form)
        case 1266:
            return timetz_writer(form)
        case 1700:
            return numeric_writer(form, typmod)
        case 1560 | 1562:
            return bits_writer(form, typmod)
        case _:
            return _BY_OID.get(oid, string)


_BY_OID: dict[int, ToJson] = {
    16: boolean,
    20: verbatim,  # int8
    21: verbatim,  # int2
    23: verbatim,  # int4
    26: verbatim,  # oid
    701: floating,
    2950: quoted,  # uuid
}
