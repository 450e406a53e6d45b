"""Avro is written as fastavro reads it: the values are those of the JSON records."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cdc.avro_schema import avro_schema
from sluice.cdc.avro_writer import avro_writer, long_bytes
from sluice.cdc.connect_schema import BYTES, DOUBLE, INT32, INT64, STRING, ConnectSchema, struct
from sluice.cdc.converter import DoesNotFit, RecordConverter
from sluice.cdc.event_form import EventForm
from sluice.cdc.event_schema import HEARTBEAT, RecordSchemas

POINT = struct("p.Point", ("x", DOUBLE), ("y", DOUBLE))
DECIMAL = ConnectSchema("bytes", name="org.apache.kafka.connect.data.Decimal", version=1, parameters={"scale": "2"})
ROW = struct(
    "a.b.Value",
    ("id", INT64),
    ("text", STRING.as_optional()),
    ("small", ConnectSchema("int16", optional=True, default=3)),
    ("flag", ConnectSchema("boolean")),
    ("ratio", ConnectSchema("float", optional=True)),
    ("exact", DOUBLE),
    ("raw", BYTES.as_optional()),
    ("amount", DECIMAL.as_optional()),
    ("tags", ConnectSchema("array", optional=True, items=STRING.as_optional())),
    ("pairs", ConnectSchema("map", optional=True, keys=STRING, values=STRING.as_optional())),
    ("point", POINT.as_optional()),
    ("other point", POINT.as_optional()),
    version=None,
    optional=True,
)
EVENT = struct("a.b.Envelope", ("before", ROW), ("after", ROW), ("op", STRING))

VALUE: dict[str, Any] = {
    "id": -(2**63),
    "text": "grün ✓",
    "small": -7,
    "flag": True,
    "ratio": 1.5,
    "exact": 0.1,
    "raw": base64.b64encode(b"\0\xff").decode(),
    "amount": base64.b64encode((-1234).to_bytes(2, "big", signed=True)).decode(),
    "tags": ["a", None, ""],
    "pairs": {"k": "v", "n": None},
    "point": {"x": 1.0, "y": -2.5},
    "other point": None,
}


def read_back(schema: ConnectSchema, value: Any) -> Any:
    parsed = fastavro.parse_schema(json.loads(json.dumps(avro_schema(schema))))
    return fastavro.schemaless_reader(io.BytesIO(avro_writer(schema)(value)), parsed, None)


def test_every_type_is_read_back_with_its_value() -> None:
    read = read_back(EVENT, {"before": None, "after": VALUE, "op": "c"})
    assert (read["before"], read["op"]) == (None, "c")
    expected = {**VALUE, "raw": b"\0\xff", "other_point": None}
    del expected["other point"], expected["amount"]
    assert str(read["after"].pop("amount")) == "-12.34"
    assert read["after"] == expected


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_is_read_back(number: int) -> None:
    assert fastavro.schemaless_reader(io.BytesIO(long_bytes(number)), "long", None) == number


def test_an_array_of_several_dimensions_is_written_in_one() -> None:
    schema = struct("S", ("a", ConnectSchema("array", items=INT32.as_optional())))
    assert read_back(schema, {"a": [[1, None], [3, 4]]}) == {"a": [1, None, 3, 4]}
    assert read_back(schema, {"a": []}) == {"a": []}


@pytest.mark.parametrize(("text", "number"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")])
def test_a_number_that_json_lacks_is_a_number(text: str, number: str) -> None:
    assert str(read_back(struct("S", ("d", DOUBLE)), {"d": text})["d"]) == number


def test_a_column_that_an_old_row_lacks_is_its_default_or_zero() -> None:
    schema = struct("S", ("id", INT64), ("n", INT64), ("d", ConnectSchema("string", default="x")), ("p", POINT))
    zero = {"id": 1, "n": 0, "d": "x", "p": {"x": 0.0, "y": 0.0}}
    assert read_back(schema, {"id": 1, "n": None}) == zero


def test_a_value_that_does_not_fit_is_refused_without_the_value() -> None:
    form = EventForm(value_encoding="avro")
    schemas = RecordSchemas(None, struct("S", ("n", INT64)))
    converter = RecordConverter("raw.s", schemas, form, lambda subject, schema: 7)
    assert converter.value(b'{"n":1}') == b"\0\0\0\0\7\2"
    with pytest.raises(DoesNotFit, match=r"in raw\.s-value \(") as refused:
        converter.value(b'{"n":"secret"}')
    assert "secret" not in str(refused.value)


def test_json_with_a_schema_contains_schema_and_payload() -> None:
    form = EventForm(key_encoding="json_with_schema", value_encoding="json_with_schema")
    converter = RecordConverter("hb", HEARTBEAT, form, lambda subject, schema: 7)
    read = json.loads(converter.value(b'{"ts_ms":5}'))
    assert read == {"schema": HEARTBEAT.value.to_json(), "payload": {"ts_ms": 5}}
    assert json.loads(converter.key(b'{"serverName":"s"}'))["payload"] == {"serverName": "s"}
