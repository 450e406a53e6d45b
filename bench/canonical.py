"""Decodes canonical records as a foreign reader does: with fastavro, and the schema from the registry."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import fastavro
import orjson


def decoded(registry_url: str, value: bytes, *, times_as_numbers: bool = False) -> dict[str, Any]:
    """The members of a canonical value. `times_as_numbers`: dates are days and times are microseconds since 1970."""
    schema = _schema(registry_url, int.from_bytes(value[1:5], "big"), times_as_numbers)
    found: Any = fastavro.schemaless_reader(BytesIO(value[5:]), schema, None)
    return dict(found)


@cache
def _schema(registry_url: str, schema_id: int, times_as_numbers: bool) -> Any:
    with urlopen(f"{registry_url}/schemas/ids/{schema_id}", timeout=30) as answer:  # noqa: S310  the bench's own server
        schema = orjson.loads(orjson.loads(answer.read())["schema"])
    return fastavro.parse_schema(without_times(schema) if times_as_numbers else schema)


def without_times(schema: Any) -> Any:
    """A schema without the logical types of times: their values are read as numbers."""
    if isinstance(schema, list):
        return [without_times(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = schema.get("logicalType") in ("date", "timestamp-micros")
    return {name: without_times(value) for name, value in schema.items() if not (dropped and name == "logicalType")}
