"""The Kafka Connect schemas of every type in every handling mode are those that a real Debezium connector states.

`debezium_schemas/schemas.json` contains what Debezium's PostgreSQL connector 3.7.0 wrote for `tables.sql`, with
`topic.prefix=raw.ref`: JSON with schemas, and the Avro schemas that it registered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice.cdc import event_schema
from sluice.cdc.avro_schema import avro_schema
from sluice.cdc.column_json import PgType
from sluice.cdc.connect_schema import ConnectSchema
from sluice.cdc.connection import Connection, connect
from sluice.cdc.event_form import EventForm, debezium_defaults
from sluice.cdc.event_schema import ColumnCatalog, RecordSchemas, table_schemas
from sluice.cdc.table_facts import TableFacts, load_types, table_facts

_FOLDER = Path(__file__).with_name("debezium_schemas")
REAL: dict[str, Any] = json.loads((_FOLDER / "schemas.json").read_text())
TABLES = ["public.all_types", "public.keys", "my-schema.odd-table"]
DEFAULT = debezium_defaults()


def form_of(**members: Any) -> EventForm:
    return EventForm(**{**{name: getattr(DEFAULT, name) for name in EventForm.__slots__}, **members})


FORMS = {
    "dflt": DEFAULT,
    "alt": form_of(decimals="string", times="isostring", intervals="string", binaries="base64", hstores="map"),
    "conn": form_of(decimals="double", times="connect", binaries="hex"),
    "micro": form_of(times="microseconds"),
    "nano": form_of(times="nanoseconds", binaries="base64-url-safe"),
    "atm": form_of(times="adaptive_time_microseconds"),
}
# Debezium writes these types as bytes that no reader understands. Sluice writes texts.
TEXTS = {"tq", "i4mr", "pgl", "xid8c", "p"}
# Debezium leaves these columns out.
LEFT_OUT = {"a_iv", "a_m", "a_x", "a_pt"}
# Debezium misreads these: a negative scale, arrays of bits, arrays of domains, and enums in arrays, which may be null.
CORRECTED = {"nneg", "a_bit", "a_pi", "a_mo"}


@pytest.fixture(scope="module")
def catalogs(shared_dsn: str) -> Iterator[tuple[dict[str, TableFacts], dict[int, PgType]]]:
    with connect(shared_dsn, "test") as connection:
        run(connection, (_FOLDER / "tables.sql").read_text())
        run(connection, "CREATE PUBLICATION everything FOR ALL TABLES")
        yield table_facts(connection, "everything", TABLES, "test"), load_types(connection, "test")


def run(connection: Connection, statements: str) -> None:
    connection.execute(f"SET search_path TO public; {statements}; SET search_path TO ''".encode())


def schemas_of(catalogs: tuple[dict[str, TableFacts], dict[int, PgType]], table: str, form: EventForm) -> RecordSchemas:
    facts, types = catalogs
    columns = {column.name: ColumnCatalog(column.nullable, column.default) for column in facts[table].columns}
    found = facts[table]
    return table_schemas(f"raw.ref.{table}", found.relation, columns, found.primary_key, types, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("table", TABLES)
def test_schemas_are_those_of_a_real_connector(
    catalogs: tuple[dict[str, TableFacts], dict[int, PgType]], table: str, form: str
) -> None:
    if table not in REAL[form]:
        return
    real, written = REAL[form][table], schemas_of(catalogs, table, FORMS[form])
    assert written.key is not None
    assert list(map(list, pairs(written.key.to_json()))) == list(map(list, pairs(real["key"])))
    value = written.value.to_json()
    assert value["fields"][1] == {**value["fields"][0], "field": "after"}
    columns = by_name(value["fields"][0].pop("fields"))
    real_columns = by_name(real["value"]["fields"][0].pop("fields"))
    del value["fields"][1], real["value"]["fields"][1]
    assert json.dumps(value) == json.dumps(real["value"])
    assert columns.keys() == real_columns.keys() | (LEFT_OUT & columns.keys())
    same = columns.keys() - TEXTS - LEFT_OUT - CORRECTED
    assert {name: columns[name] for name in same} == {name: real_columns[name] for name in same}
    assert [name for name in columns if name in same] == [name for name in real_columns if name in same]
    assert all(columns[name]["type"] == "string" for name in TEXTS & columns.keys())


def pairs(schema: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(schema.items())


def by_name(fields: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {field["field"]: field for field in fields}


@pytest.mark.parametrize(
    ("name", "schemas"),
    [
        ("heartbeat", event_schema.HEARTBEAT),
        ("transaction", event_schema.TRANSACTION),
        ("message", event_schema.message_schemas(DEFAULT)),
    ],
)
def test_schemas_of_other_records_are_those_of_a_real_connector(name: str, schemas: RecordSchemas) -> None:
    assert schemas.key is not None
    assert json.dumps(schemas.key.to_json()) == json.dumps(REAL["other"][name]["key"])
    assert json.dumps(schemas.value.to_json()) == json.dumps(REAL["other"][name]["value"])


@pytest.mark.parametrize("form", ["dflt", "alt", "conn"])
@pytest.mark.parametrize("table", TABLES)
def test_avro_schemas_are_those_of_a_real_connector(
    catalogs: tuple[dict[str, TableFacts], dict[int, PgType]], table: str, form: str
) -> None:
    written, real = schemas_of(catalogs, table, FORMS[form]), REAL["avro"][form][table.replace("-", "_")]
    assert written.key is not None
    assert json.dumps(avro_schema(written.key)) == json.dumps(real["key"])
    value = avro_schema(written.value)
    columns, real_columns = (
        {field["name"]: field for field in schema["fields"][0]["type"][1].pop("fields")}
        for schema in (value, real["value"])
    )
    assert json.dumps(value) == json.dumps(real["value"])
    same = columns.keys() - TEXTS - LEFT_OUT - CORRECTED
    # A named type is written where it occurs first, so the columns before it matter.
    assert {name: columns[name] for name in same} == {name: real_columns[name] for name in same}


@pytest.mark.parametrize(
    "schema",
    [
        event_schema.HEARTBEAT_KEY,
        event_schema.HEARTBEAT_VALUE,
        event_schema.TRANSACTION_KEY,
        event_schema.TRANSACTION_VALUE,
        event_schema.MESSAGE_KEY,
        event_schema.message_schemas(DEFAULT).value,
    ],
)
def test_avro_schemas_of_other_records_are_those_of_a_real_connector(schema: ConnectSchema) -> None:
    written = avro_schema(schema)
    assert json.dumps(written) == json.dumps(REAL["avro"]["other"][written["name"]])
