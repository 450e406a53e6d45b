"""The project's JSON Schemas, by name."""

from __future__ import annotations

from functools import cache

from sluice.json_schema import JsonSchema
from support.repository import ROOT

SCHEMAS = ROOT / "schemas"
FILES = {path.name.removesuffix(".schema.json"): path for path in sorted(SCHEMAS.rglob("*.schema.json"))}


@cache
def json_schema(name: str) -> JsonSchema:
    """The schema in `<name>.schema.json`. Raises SettingsError if the file is no JSON Schema."""
    return JsonSchema(FILES[name])
