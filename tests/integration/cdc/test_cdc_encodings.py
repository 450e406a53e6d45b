"""Events in JSON with schemas and in Avro: what a consumer of Kafka Connect reads, and what the mapper reads."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest

from sluice.cdc.watermarks import FOLLOWED
from sluice.debezium_settings import read_settings
from sluice.kafka.record import Record
from sluice.raw.raw_record import Op, read_change, source_key
from sluice.schemas import Registry
from sluice.settings.stage import RegistrySettings, StageSettings
from sluice_mapper.avro_records import AvroRecords
from support.cdc import SOURCE, Raw, Source, create_topics, make_source
from support.waiting import eventually

TABLE = """CREATE TABLE offer (
  id int PRIMARY KEY, name text NOT NULL, price numeric(9,2) DEFAULT 1.5, free numeric, ratio real, exact float8,
  small int2, big int8, flag bool NOT NULL DEFAULT true, photo bytea, day date, at timestamp, moment timestamptz,
  tags text[], grid int[], mood mood DEFAULT 'good', document jsonb, place point)"""
ROWS = [
    "(1, 'a', 12.34, 1.500, 0.1, 0.1, -5, 9223372036854775807, false, '\\x00ff', '2024-01-31', "
    "'2024-01-31 10:00:00.5', '2024-01-31 10:00+00', '{a,NULL}', '{{1,2},{3,4}}', 'bad', '{\"a\": 1}', '(1,2)')",
    "(2, 'b', NULL, 'NaN', 'NaN', 'Infinity', NULL, NULL, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
]
JSON = "org.apache.kafka.connect.json.JsonConverter"
AVRO = "io.confluent.connect.avro.AvroConverter"


def encoded_as(converter: str, source: Source) -> Source:
    settings = read_settings({"key.converter": converter, "value.converter": converter} if converter else {})
    followed = source.pipeline.cdc_sources()[SOURCE].model_copy(update={"debezium": settings})
    pipeline = source.pipeline.model_copy(update={"sources": {SOURCE: followed}})
    create_topics(pipeline, source.kafka)
    return replace(source, pipeline=pipeline)


@pytest.fixture
def source(postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["offer"])
    source.sql("CREATE TYPE mood AS ENUM ('good', 'bad')")
    source.sql(TABLE)
    source.sql(f"INSERT INTO offer VALUES {ROWS[0]}")
    return source


def published(source: Source, registry_url: str) -> list[Raw]:
    """The records of a snapshot row, an insert, an update, and a delete with its tombstone."""
    with source.followed(state_dir=source.folder / "state", registry={"url": registry_url}):
        eventually(lambda: source.mark("offer").state == FOLLOWED, "the table is followed")
        source.sql(f"INSERT INTO offer VALUES {ROWS[1]}")
        source.sql("UPDATE offer SET name = 'c' WHERE id = 1")
        source.sql("DELETE FROM offer WHERE id = 2")
        eventually(lambda: len(changes(source)) == 5, "every change is published")
    return changes(source)


def changes(source: Source) -> list[Raw]:
    return sorted((one for one in source.raw("offer") if not one.is_sweep), key=lambda record: record.position)


def avro_value(data: bytes, registry: Registry) -> Any:
    schema = fastavro.parse_schema(registry.by_id(int.from_bytes(data[1:5], "big")))
    assert data[0] == 0
    return fastavro.schemaless_reader(io.BytesIO(data[5:]), schema, None)


def test_json_with_schemas_states_the_schema_of_every_member(source: Source, registry_url: str) -> None:
    for record in published(encoded_as(JSON, source), registry_url):
        key = orjson.loads(record.key)
        assert [field["field"] for field in key["schema"]["fields"]] == list(key["payload"]) == ["id"]
        if record.value is not None:
            require_described(record.body["payload"], record.body["schema"])


def require_described(payload: Any, schema: dict[str, Any]) -> None:
    """Fail unless `schema` describes `payload`: its members, its types, and which of them may be null."""
    if payload is None:
        assert schema["optional"], schema
        return
    kinds: dict[str, Any] = {
        **dict.fromkeys(["int16", "int32", "int64"], int),
        **dict.fromkeys(["string", "bytes"], str),
        **dict.fromkeys(["float", "double"], (float, str)),
        "boolean": bool,
        "struct": dict,
        "array": list,
        "map": dict,
    }
    assert isinstance(payload, kinds[schema["type"]]), schema
    if schema["type"] == "struct":
        assert list(payload) == [field["field"] for field in schema["fields"]]
        for field in schema["fields"]:
            require_described(payload[field["field"]], field)
    for item in payload if schema["type"] == "array" else ():
        require_described(item, schema["items"])


def test_avro_is_read_with_the_registered_schema(source: Source, registry_url: str, tmp_path: Path) -> None:
    records = published(encoded_as(AVRO, source), registry_url)
    registry = Registry(registry_url, tmp_path / "cache")
    topic = source.pipeline.names.raw(SOURCE, "public.offer")
    assert registry.latest(f"{topic}-key")
    assert registry.latest(f"{topic}-value")
    assert [avro_value(record.key, registry) for record in records] == [{"id": n} for n in (1, 2, 1, 2, 2)]
    events = [avro_value(record.value, registry) for record in records[:4] if record.value is not None]
    assert [event["op"] for event in events] == ["r", "c", "u", "d"]
    first, second = events[0]["after"], events[1]["after"]
    assert (str(first["price"]), first["photo"], first["grid"], first["mood"]) == (
        "12.34",
        b"\0\xff",
        [1, 2, 3, 4],
        "bad",
    )
    assert (second["price"], second["free"], str(second["ratio"]), second["exact"]) == (None, None, "nan", float("inf"))
    assert events[2]["after"]["name"] == "c"
    assert events[3]["before"]["id"] == 2
    assert events[3]["after"] is None
    assert records[4].value is None


@pytest.mark.parametrize("converter", [JSON, AVRO])
def test_the_mapper_reads_the_same_rows_in_every_encoding(
    source: Source, registry_url: str, tmp_path: Path, converter: str
) -> None:
    records = published(encoded_as(converter, source), registry_url)
    settings = StageSettings(registry=RegistrySettings(url=registry_url), state_dir=tmp_path / "cache")
    avro = AvroRecords(settings)
    rows = [read_as_the_mapper_does(record, avro) for record in records]
    assert [key for key, _ in rows] == [f'{{"id":{n}}}' for n in (1, 2, 1, 2, 2)]
    assert [op for _, (op, _) in rows] == [Op.UPSERT] * 3 + [Op.DELETE] * 2
    first, second = rows[0][1][1], rows[1][1][1]
    assert first == {
        "id": 1,
        "name": "a",
        "price": "BNI=",
        "free": {"scale": 1, "value": "Dw=="},
        "ratio": Decimal("0.1"),
        "exact": Decimal("0.1"),
        "small": -5,
        "big": 9223372036854775807,
        "flag": False,
        "photo": "AP8=",
        "day": 19753,
        "at": 1706695200500000,
        "moment": "2024-01-31T10:00:00.000000Z",
        "tags": ["a", None],
        "grid": [1, 2, 3, 4],
        "mood": "bad",
        "document": '{"a": 1}',
        "place": {"x": 1, "y": 2, "wkb": first["place"]["wkb"], "srid": None},
    }
    assert {name: value for name, value in second.items() if value is not None} == {
        "id": 2,
        "name": "b",
        "ratio": "NaN",
        "exact": "Infinity",
        "flag": True,
    }


def read_as_the_mapper_does(record: Raw, avro: AvroRecords) -> tuple[str, tuple[Op, dict[str, Any]]]:
    read = avro.plain(Record("t", 0, 0, record.key, record.value, record.headers, 0))
    key = source_key(read)
    change = read_change(read, key, record.position)
    return key, (change.op, change.row)


def test_a_registry_that_is_away_stops_no_source_that_knows_its_ids(source: Source, registry_url: str) -> None:
    avro = encoded_as(AVRO, source)
    state = source.folder / "state"
    with avro.followed(state_dir=state, registry={"url": registry_url}):
        eventually(lambda: avro.mark("offer").state == FOLLOWED and len(changes(avro)) == 1, "the table is followed")
    source.sql(f"INSERT INTO offer VALUES {ROWS[1]}")
    with avro.followed(state_dir=state, registry={"url": "http://127.0.0.1:9"}):
        eventually(lambda: len(changes(avro)) == 2, "the change is published with the known id")
