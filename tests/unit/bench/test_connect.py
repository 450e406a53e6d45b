"""The records for Kafka Connect have the values of the canonical records, and the list of jars is complete."""

from __future__ import annotations

import base64
import json
from datetime import date
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest

from bench.canonical import without_times
from bench.connect import formats, settings
from bench.connect.worker import PLUGINS, versions
from bench.options import parse
from bench.rounds import with_best_forms

CANONICAL = {
    "entry_number": "E-0000000001",
    "cost_centre": "CC-0001",
    "employee_number": None,
    "booked_on": 20_454,
    "changed_at": 1_767_225_600_123_456,
    "amount": {"amount": Decimal("-1234.5000"), "currency": "EUR"},
    "quantity": 7,
    "rate": Decimal("0.1234"),
    "text": "Invoice 1",
    "_sluice": {"revision": 3, "updated_at": 5, "contributors": [{"source": "erp"}], "winners": []},
}


def test_a_flat_record_has_a_value_for_each_column() -> None:
    flat = formats.flat("id-1", CANONICAL)
    assert set(flat) == set(formats.COLUMNS) == set(formats.FIELDS)
    assert (flat["entity_id"], flat["amount_amount"], flat["_revision"]) == ("id-1", Decimal("-1234.5000"), 3)
    assert json.loads(flat["_provenance"]) == {"contributors": [{"source": "erp"}], "winners": []}


def test_avro_of_a_flat_record_is_in_the_wire_format_of_the_registry() -> None:
    flat = formats.flat("id-1", CANONICAL)
    encoded = formats.avro_encoder(258)(flat)
    assert encoded[:5] == b"\0\0\0\1\2"
    schema = fastavro.parse_schema(formats.avro_schema())
    found: Any = fastavro.schemaless_reader(BytesIO(encoded[5:]), schema, None)
    assert found == flat


def test_json_of_a_flat_record_repeats_the_schema_and_has_decimals_as_base64() -> None:
    found = json.loads(formats.json_encoder()(formats.flat("id-1", CANONICAL)))
    fields = {one["field"]: one for one in found["schema"]["fields"]}
    assert list(fields) == list(formats.FIELDS)
    assert (fields["text"]["optional"], fields["quantity"]["optional"]) == (True, False)
    assert fields["amount_amount"]["parameters"]["scale"] == "4"
    unscaled = int.from_bytes(base64.b64decode(found["payload"]["amount_amount"]), "big", signed=True)
    assert unscaled == -12_345_000
    assert found["payload"]["booked_on"] == 20_454


def test_times_of_canonical_records_are_read_as_numbers() -> None:
    schema: Any = {
        "type": "record",
        "name": "R",
        "fields": [
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4}},
        ],
    }
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), {"day": date(1970, 1, 3), "sum": Decimal("1.5")})
    out.seek(0)
    found = fastavro.schemaless_reader(out, fastavro.parse_schema(without_times(schema)), None)
    assert found == {"day": 2, "sum": Decimal("1.5000")}


def test_the_listed_jars_contain_each_connector() -> None:
    assert set(versions()) >= {"connect-runtime", "debezium-connector-jdbc", "debezium-connector-postgres"}
    assert set(PLUGINS) == {"jdbc", "postgres", "avro"}


def test_the_avro_converter_asks_the_registry_of_the_benchmark() -> None:
    found = settings.converter("value", "avro", "http://127.0.0.1:8081/apis/ccompat/v7")
    assert found["value.converter.apicurio.registry.url"] == "http://127.0.0.1:8081/apis/registry/v2"


def test_the_fastest_form_of_a_peer_counts() -> None:
    forms = {"jdbc_avro": "jdbc", "jdbc_json": "jdbc"}
    found = with_best_forms({"upsert": 0.7, "jdbc_avro": 5.0, "jdbc_json": 4.0}, forms)
    assert found == {"jdbc": 4.0, "upsert": 0.7, "jdbc_avro": 5.0, "jdbc_json": 4.0}


@pytest.mark.parametrize("name", ["jdbc", "jdbc_avro", "upsert,jdbc"])
def test_a_peer_is_chosen_by_its_name_or_by_a_form(name: str) -> None:
    assert parse(["--what", "sink", "--peers", name]).peers == tuple(name.split(","))
