"""Every schema has examples, and the code reads the examples as they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import Contribution
from sluice.raw import raw_record
from support.json_schemas import FILES, SCHEMAS, json_schema

EXAMPLES = sorted((SCHEMAS / "examples").glob("*/*.json"))


# A truncate becomes sweep markers in raw topics, so the mapper never reads its event.
NOT_MAPPED = {"truncate"}


def of(kind: str) -> list[Path]:
    return [path for path in EXAMPLES if path.parent.name == kind]


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def record(example: dict[str, Any]) -> Record:
    """The Kafka record that an example of a raw record stands for."""
    key = orjson.dumps(example["key"])
    value = None if example["value"] is None else b"" if example["value"] == "" else orjson.dumps(example["value"])
    headers = {name: text.encode() for name, text in example["headers"].items()}
    return Record("raw.source.stream", 0, 0, key, value, headers, 0)


@pytest.mark.parametrize("name", FILES)
def test_a_schema_is_one_and_has_examples(name: str) -> None:
    assert json_schema(name)
    assert read(FILES[name])["description"]
    assert of(name)


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_follows_its_schema(path: Path) -> None:
    assert json_schema(path.parent.name).violations(read(path)) == []


@pytest.mark.parametrize("path", of("contribution"), ids=name_of)
def test_a_contribution_reads_and_writes_the_same(path: Path) -> None:
    example = read(path)
    contribution = Contribution.from_json(orjson.dumps(example))
    assert orjson.loads(contribution.to_json()) == example
    assert contribution.sealed().content == example["content"]


@pytest.mark.parametrize("path", of("polled"), ids=name_of)
def test_a_polled_record_is_read_as_what_it_says(path: Path) -> None:
    example = read(path)
    raw = record(example)
    change = raw_record.read_polled(raw, raw_record.source_key(raw), raw_record.position_of(raw))
    expected = raw_record.Op.DELETE if example["headers"]["sluice-op"] == "d" else raw_record.Op.UPSERT
    assert change.op is expected
    assert change.row == (example["value"] or {})
    assert raw.headers["ce_subject"] == raw.key


@pytest.mark.parametrize("path", of("sweep"), ids=name_of)
def test_a_sweep_marker_is_read_as_one(path: Path) -> None:
    example = read(path)
    raw = record(example)
    assert raw_record.is_sweep(raw)
    assert raw_record.swept_at(raw, example["key"]["$sweep"]) == raw.timestamp_ms * 1_000


@pytest.mark.parametrize("kind", ["envelope", "message"])
def test_the_source_of_every_event_is_described_alike(kind: str) -> None:
    source = read(FILES["source"])
    described = read(FILES[kind])["properties"]["source"]
    assert described == {name: source[name] for name in described}


@pytest.mark.parametrize("path", [path for path in of("envelope") if path.stem not in NOT_MAPPED], ids=name_of)
def test_a_change_event_is_read_as_what_it_says(path: Path) -> None:
    example = read(path)
    raw = Record("raw.source.public.thing", 0, 0, b'{"id":17}', orjson.dumps(example), {}, 0)
    change = raw_record.read_change(raw, raw_record.source_key(raw), Position(1, 1, 1))
    assert change.op is (raw_record.Op.DELETE if example["op"] == "d" else raw_record.Op.UPSERT)
    assert change.row == (example["after"] or {})
    assert change.observed_at == example["source"]["ts_us"]


def change(example: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`example` with the member at slash-separated `path` set, or taken out (value `...`)."""
    changed: dict[str, Any] = orjson.loads(orjson.dumps(example))
    *parents, last = path.split("/")
    node = changed
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return changed


@pytest.mark.parametrize(
    ("example", "path", "value"),
    [
        ("contribution/payroll", "position", [1, 2]),
        ("contribution/payroll", "content", "abc"),
        ("contribution/payroll", "effective_at", ...),
        ("contribution/payroll", "surprise", 1),
        ("contribution/payroll", "fields/base_pay/amount", 5210.0),
        ("contribution/payroll", "fields/base_pay/currency", "eur"),
        ("contribution/retracted", "fields", {"name": "Ada"}),
        ("polled/upsert", "value", None),
        ("polled/upsert", "headers/sluice-position", "1:09:1"),
        ("polled/upsert", "headers/sluice-op", "s"),
        ("polled/upsert", "headers/ce_time", "yesterday"),
        ("polled/delete", "value", {"id": "W-00018"}),
        ("sweep/snapshot_done", "value", None),
        ("sweep/snapshot_done", "key", {"id": 1}),
        ("envelope/create", "after", None),
        ("envelope/create", "op", "x"),
        ("envelope/create", "source/lsn", "24117960"),
        ("envelope/create", "source/sequence", "24117960"),
        ("envelope/delete_with_key_only", "before", None),
        ("envelope/truncate", "after", {"id": 17}),
        ("source/stream", "connector", "mysql"),
        ("source/stream", "lsn", "33758816"),
        ("transaction/begin", "event_count", 3),
        ("transaction/end", "data_collections", None),
        ("transaction/end", "status", "COMMIT"),
        ("heartbeat/heartbeat", "ts_ms", "now"),
        ("message/transactional", "op", "c"),
        ("message/transactional", "message/prefix", ...),
        ("signal/snapshot_of_a_part", "data/data-collections", []),
        ("signal/snapshot_of_a_part", "data", None),
        ("signal/pause", "type", ...),
    ],
)
def test_a_wrong_record_is_refused(example: str, path: str, value: Any) -> None:
    right = read(SCHEMAS / "examples" / f"{example}.json")
    assert json_schema(example.partition("/")[0]).violations(change(right, path, value)) != []
