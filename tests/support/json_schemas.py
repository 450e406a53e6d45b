"""JSON Schemas of the project, found by name, checked once."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import orjson

from support.repository import ROOT

SCHEMAS = ROOT / "schemas"
FILES = {path.name.removesuffix(".schema.json"): path for path in sorted(SCHEMAS.rglob("*.schema.json"))}


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """The validator of `<name>.schema.json`; raises SchemaError if that is no schema."""
    schema = orjson.loads(FILES[name].read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def findings(name: str, value: Any) -> list[str]:
    """Why `value` does not follow the schema, one line each."""
    errors = validator(name).iter_errors(value)
    return [f"{'/'.join(map(str, error.absolute_path)) or 'record'}: {error.message}" for error in errors]


def seen(key: bytes | None, headers: list[tuple[str, bytes]], value: bytes | None) -> dict[str, Any]:
    """A Kafka record in the form that the schemas of raw records describe."""
    parsed = orjson.loads(value) if value else (None if value is None else "")
    return {
        "key": orjson.loads(key or b"null"),
        "headers": {name: text.decode() for name, text in headers},
        "value": parsed,
    }
