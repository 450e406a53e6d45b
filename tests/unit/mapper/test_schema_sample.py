"""Raw records that break their schema are counted and logged, and nothing stops."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from sluice.json_schema import JsonSchema
from sluice.kafka.record import Record
from sluice.settings.stage import default_schemas_dir
from sluice_mapper.schema_sample import SAMPLED_EVERY, SchemaSample

ENVELOPE = default_schemas_dir() / "debezium" / "envelope.schema.json"
RIGHT = orjson.loads((default_schemas_dir() / "examples" / "envelope" / "create.json").read_bytes())
WRONG = {**RIGHT, "op": "Ada"}


def violations(topic: str) -> float:
    return REGISTRY.get_sample_value("sluice_schema_violations_total", {"topic": topic}) or 0.0


def at(topic: str, offset: int, value: Any) -> Record:
    return Record(topic, 0, offset, b'{"id":17}', None if value is None else orjson.dumps(value), {}, 0)


def test_the_first_record_of_a_topic_is_compared_and_then_one_in_a_thousand() -> None:
    sample = SchemaSample(JsonSchema(ENVELOPE))
    for offset in range(7, 2 * SAMPLED_EVERY + 1):
        sample.check(at("raw.first", offset, WRONG))
    assert violations("raw.first") == 3


def test_a_right_record_is_no_violation() -> None:
    sample = SchemaSample(JsonSchema(ENVELOPE))
    sample.check(at("raw.right", 0, RIGHT))
    sample.check(at("raw.right", SAMPLED_EVERY, {"schema": {}, "payload": RIGHT}))
    assert violations("raw.right") == 0


@pytest.mark.parametrize("value", [None, b"", b"no JSON", b"[" * 100_000])
def test_what_is_no_document_is_left_to_the_mapper(value: bytes | None) -> None:
    SchemaSample(JsonSchema(ENVELOPE)).check(Record("raw.none", 0, 0, b"k", value, {}, 0))
    assert violations("raw.none") == 0


def test_a_delete_is_not_the_first_record() -> None:
    sample = SchemaSample(JsonSchema(ENVELOPE))
    sample.check(at("raw.delete", 1, None))
    sample.check(at("raw.delete", 2, WRONG))
    assert violations("raw.delete") == 1


def test_a_topic_warns_once_a_minute_and_quotes_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr("sluice_mapper.schema_sample.time.monotonic", lambda: now_s[0])
    sample = SchemaSample(JsonSchema(ENVELOPE))
    with capture_logs() as lines:
        for step in range(4):
            sample.check(at("raw.warned", step * SAMPLED_EVERY, WRONG))
            now_s[0] += 30.0
    assert [line["records"] for line in lines] == [1, 2]
    assert lines[0]["rules"] == ["properties/op/enum"]
    assert "Ada" not in str(lines)


def sample_of(tmp_path: Path, schema: Any) -> SchemaSample:
    file = tmp_path / "things.json"
    file.write_bytes(orjson.dumps(schema))
    return SchemaSample(JsonSchema(file))


def test_a_record_that_takes_long_to_check_does_not_stop_the_mapping(tmp_path: Path) -> None:
    endless = {"pattern": "^(a+)+$"}
    rules = {"text": endless, "list": {"uniqueItems": True}, "names": {"propertyNames": endless}}
    rules["more"] = {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}
    rules["rest"] = {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}
    sample = sample_of(tmp_path, {"properties": rules})
    text = "a" * 60 + "!"
    value = {"text": text, "names": {text: 1}, "more": {text: 1}, "rest": {text: 1}}
    started_s = time.monotonic()
    sample.check(at("raw.slow", 0, value | {"list": [{"i": i} for i in range(5_000)]}))
    assert violations("raw.slow") == 0
    sample.check(at("raw.slow", SAMPLED_EVERY, value | {"list": [{"i": i} for i in [*range(5_000), 7]]}))
    assert violations("raw.slow") == 1
    assert time.monotonic() - started_s < 5


def test_a_schema_that_names_its_draft_and_refers_to_itself_does_not_stop_the_mapping(tmp_path: Path) -> None:
    draft = "https://json-schema.org/draft/2020-12/schema"
    sample = sample_of(
        tmp_path, {"$schema": draft, "properties": {"in": {"$ref": "#"}, "text": {"pattern": "^(a+)+$"}}}
    )
    sample.check(at("raw.self", 0, {"in": {"in": {"text": "a" * 60 + "!"}}}))
    assert violations("raw.self") == 0


def test_a_schema_that_cannot_be_applied_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "things.json"
    file.write_text('{"$ref": "#"}')
    sample = SchemaSample(JsonSchema(file))
    sample.check(at("raw.unusable", 0, {"id": 1}))
    assert violations("raw.unusable") == 1
