"""The JSON Schema of a polled stream's records, an optional file `sources/<source>/schemas/<stream>.json`."""

from __future__ import annotations

import json

from sluice.errors import SettingsError, suggestion
from sluice.json_schema import JsonSchema
from sluice.pipeline.examples import examples_of, read_example
from sluice.pipeline.model import Pipeline


def record_schema(pipeline: Pipeline, source: str, stream: str) -> JsonSchema | None:
    """The JSON Schema of a stream's records; None if the author wrote none.

    Raises SettingsError if the file is not a JSON Schema.
    """
    file = pipeline.root / "sources" / source / "schemas" / f"{stream}.json"
    return JsonSchema(file) if file.is_file() else None


def require_examples_follow_schemas(pipeline: Pipeline) -> None:
    """Raises SettingsError if an example record breaks the JSON Schema of its stream, or if a schema file does not have
    the name of a stream."""
    for source, declared in pipeline.poll_sources().items():
        for file in sorted((pipeline.root / "sources" / source / "schemas").glob("*.json")):
            name = file.relative_to(pipeline.root)
            if file.stem not in declared.streams:
                raise SettingsError(
                    f"{name}: source {source} has no stream {file.stem} ({suggestion(file.stem, declared.streams)})"
                )
            _require_followed(pipeline, source, file.stem, JsonSchema(file))


def _require_followed(pipeline: Pipeline, source: str, stream: str, schema: JsonSchema) -> None:
    for example in examples_of(pipeline, source, stream):
        name = example.relative_to(pipeline.root)
        try:
            record = json.loads(read_example(pipeline, example))
        except ValueError:
            raise SettingsError(f"{name}: is not JSON") from None
        if broken := schema.violations(record):
            raise SettingsError(
                f"{name}: breaks {', '.join(broken)} of {schema.file.relative_to(pipeline.root)}. "
                "Next: correct the schema, or the example if it is wrong"
            )
