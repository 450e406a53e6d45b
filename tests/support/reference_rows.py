"""The reference implementation of the generated row decoder: from a decoded canonical record to the values of a row, as
text or Python values."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from sluice.entities.field_types import FieldType
from sluice.errors import DeadRecord
from sluice.golden.columns import GoldenTable
from sluice.schemas.decoder import DecodedCanonical
from sluice.times import from_us


def reference_row(table: GoldenTable, decoded: DecodedCanonical) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The values of the fields, the revision and the time of the update; and the provenance.

    A field that the record lacks, because of an older contract, is null. Raises DeadRecord for a value that Postgres
    can never store.
    """
    fields, sluice = decoded
    cells = [cell for name, kind in table.contract.fields.items() for cell in _cells_of(name, kind)]
    try:
        values = [None if fields.get(name) is None else cell(fields[name]) for name, cell in cells]
        version = (sluice["revision"], from_us(sluice["updated_at"]))
    except OverflowError:
        raise DeadRecord("time-out-of-range", f"{table.name} has a time outside of the years 1 to 9999") from None
    return (*values, *version), {"contributors": sluice["contributors"], "winners": sluice["winners"]}


def _cells_of(name: str, kind: FieldType) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    if kind.kind == "money":
        return (name, lambda value: value["amount"]), (name, lambda value: _text(value["currency"]))
    return ((name, _cell_of(kind)),)


def _cell_of(kind: FieldType) -> Callable[[Any], Any]:
    if kind.item is not None:
        item = _cell_of(kind.item)
        return lambda values: [None if value is None else item(value) for value in values]
    return _CELLS.get(kind.kind, lambda value: value)


def _text(value: str) -> str:
    if "\0" in value:
        raise DeadRecord("nul-character", "a string contains U+0000, which Postgres cannot store")
    return value


def _hex(value: str) -> str:
    return f"\\x{base64.b64decode(value).hex()}"


_CELLS: dict[str, Callable[[Any], Any]] = {"timestamp": from_us, "bytes": _hex, "string": _text}
