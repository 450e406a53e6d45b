"""The schema that an author gives for a polled stream is compared with the stream's examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.errors import SettingsError
from sluice.pipeline import load_pipeline
from sluice.pipeline.record_schemas import record_schema, require_examples_follow_schemas

PIPELINE = """
pipeline: small
sources: {hr: {poll: "sources.hr.connector:Hr", streams: {workers: {freshness: 60s}}}}
"""
SCHEMA = '{"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    for name in ("schemas", "examples/workers"):
        (tmp_path / "sources/hr" / name).mkdir(parents=True)
    (tmp_path / "sources/hr/examples/workers/one.json").write_text('{"id": 17}')
    return tmp_path


def refusal(folder: Path, name: str, schema: str) -> str:
    (folder / "sources/hr/schemas" / name).write_text(schema)
    with pytest.raises(SettingsError) as refused:
        require_examples_follow_schemas(load_pipeline(folder))
    return str(refused.value)


def test_an_example_that_follows_its_schema_is_taken(folder: Path) -> None:
    (folder / "sources/hr/schemas/workers.json").write_text(SCHEMA)
    pipeline = load_pipeline(folder)
    require_examples_follow_schemas(pipeline)
    schema = record_schema(pipeline, "hr", "workers")
    assert schema is not None
    assert schema.violations({"id": "17"}) == ["properties/id/type"]


@pytest.mark.parametrize(
    "schema",
    [
        '{"$ref": "#/$defs/x", "$defs": {"x": {"$anchor": "a"}, "y": {"$ref": "#a"}, "z": {"items": {"$ref": "#a"}}}}',
        '{"$id": "http://h/a", "$defs": {"x": {"$id": "b"}, "y": {"$ref": "b"}, "z": {"$ref": "http://h/a#/$defs/x"}}}',
        '{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"$ref": "#/definitions/a"}}}',
        '{"properties": {"c": {"$ref": "#"}}, "enum": [{"$ref": "no reference"}, {"id": 17}]}',
        "true",
    ],
)
def test_references_within_the_file_are_followed(folder: Path, schema: str) -> None:
    (folder / "sources/hr/schemas/workers.json").write_text(schema)
    require_examples_follow_schemas(load_pipeline(folder))


def test_a_stream_needs_no_schema(folder: Path) -> None:
    pipeline = load_pipeline(folder)
    require_examples_follow_schemas(pipeline)
    assert record_schema(pipeline, "hr", "workers") is None


def test_an_example_that_breaks_its_schema_is_refused(folder: Path) -> None:
    refused = refusal(folder, "workers.json", SCHEMA.replace("integer", "string"))
    assert refused.startswith(
        "sources/hr/examples/workers/one.json: breaks properties/id/type of sources/hr/schemas/workers.json. Next: "
    )


@pytest.mark.parametrize(
    ("name", "schema", "reason"),
    [
        ("workers.json", "{", "workers.json:1:2: is not JSON: "),
        ("workers.json", '{"type":\n "object",}', "workers.json:2:10: is not JSON: "),
        ("workers.json", "\ufeff{}", "workers.json:1:1: is not JSON: it begins with a byte order mark"),
        ("workers.json", '{"$schema": 5}', "workers.json: is not a JSON Schema: its member $schema is not a text"),
        ("workers.json", '{"allOf":[' * 200 + "{}" + "]}" * 200, "it is nested too deeply. Next: correct the schema"),
        ("workers.json", '{"$ref": "http://127.0.0.1:9/x"}', "the reference http://127.0.0.1:9/x leads to no place in"),
        ("workers.json", '{"properties": {"a": {"$ref": "other.json"}}}', "the reference other.json leads to no place"),
        (
            "workers.json",
            '{"anyOf": [{"$ref": "#/$defs/x"}]}',
            "the reference #/$defs/x leads to no place in this file",
        ),
        ("workers.json", '{"$ref": "#anchor"}', "the reference #anchor leads to no place in this file"),
        ("workers.json", '{"pattern": "^\\\\p{L}+$"}', "p{L}+$' is not a 'regex'. Next: "),
        ("workers.json", "[1]", "is not a JSON Schema: it is no JSON object"),
        ("workers.json", "null", "is not a JSON Schema: it is no JSON object"),
        ("workers.json", "5", "is not a JSON Schema: it is no JSON object"),
        ("workers.json", '{"type": "text"}', "is not a JSON Schema: 'text' is not valid"),
        ("worker.json", SCHEMA, "source hr has no stream worker (is workers meant?)"),
    ],
)
def test_a_file_that_is_no_schema_of_a_stream_is_refused(folder: Path, name: str, schema: str, reason: str) -> None:
    assert reason in refusal(folder, name, schema)
