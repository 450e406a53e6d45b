"""Golden tables as plain values, read with SQL alone. Tests compare them with an example's truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

Golden = dict[str, dict[str, dict[str, object]]]


def golden_tables(dsn: str, entities: Iterable[str], schema: str = "golden") -> Golden:
    """Entity → id → field → value, in the JSON of contributions. A table that does not exist yet is empty."""
    found: Golden = {}
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        for entity in entities:
            exists = connection.execute("SELECT to_regclass(%s) AS place", (f"{schema}.{entity}",)).fetchone()
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, entity))
            rows = connection.execute(query) if exists and exists["place"] else ()
            found[entity] = {row["entity_id"]: _fields(row) for row in rows}
    return found


def differences(expected: Golden, actual: Golden, at_most: int = 20) -> list[str]:
    """One line for each difference: a missing row, a row too many, or a field with another value."""
    found: list[str] = []
    for entity, rows in expected.items():
        others = actual.get(entity, {})
        found += [f"{entity} {key}: missing" for key in sorted(rows.keys() - others.keys())]
        found += [f"{entity} {key}: should not be there" for key in sorted(others.keys() - rows.keys())]
        for key in sorted(rows.keys() & others.keys()):
            for field, value in rows[key].items():
                if others[key].get(field) != value:
                    found.append(f"{entity} {key}.{field}: {others[key].get(field)!r}, expected {value!r}")
    return [*found[:at_most], f"and {len(found) - at_most} more"] if len(found) > at_most else found


def _fields(row: Mapping[str, Any]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for column, value in row.items():
        name, _, part = column.rpartition("_")
        if column == "entity_id" or column.startswith("_") or (part == "currency" and f"{name}_amount" in row):
            continue
        if part == "amount" and f"{name}_currency" in row:
            fields[name] = None if value is None else {"amount": str(value), "currency": row[f"{name}_currency"]}
        else:
            fields[column] = _json(value)
    return fields


def _json(value: Any) -> object:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        case date():
            return value.isoformat()
    return value
