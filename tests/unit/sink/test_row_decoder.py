"""The generated row decoder, with a reference implementation and psycopg's readers for every value."""

import base64
import json
import linecache
import random
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import adapt, postgres
from psycopg.pq import Format

from sluice.entities import UNCLAIMED, Entity, Identity, Money
from sluice.errors import DeadRecord
from sluice.golden import binary
from sluice.golden.columns import GoldenTable
from sluice.provenance import CanonicalRecord, Contributor, Winner
from sluice.schemas import avro_schema, make_decoder, make_encoder
from sluice.times import to_us
from sluice_sink_postgres.row_decoder import generate_row_decoder, make_row_decoder
from support.canonical import CONTRACT, CONTRIBUTOR, record, records
from support.lists import EMPTY, FIELDS, Listed
from support.packed_rows import unpacked
from support.reference_rows import reference_row
from support.sink import TABLE

SCHEMA = avro_schema(CONTRACT, "workforce")
ENCODE = make_encoder(CONTRACT, 77)
REFERENCE = make_decoder(lambda schema_id: SCHEMA)
DECODE = make_row_decoder(lambda schema_id: SCHEMA, TABLE)
ORIGIN = binary.pack_origin(len(TABLE.copied), 1, 2, 3, b"W-7")
LISTED = GoldenTable("golden", Listed.contract())
LISTED_ORIGIN = binary.pack_origin(len(LISTED.copied), 1, 2, 3, b"N-1")


def _fast(value: bytes) -> dict[str, Any] | str:
    """The values of a row by column, or the code of the dead record."""
    try:
        return unpacked(TABLE, DECODE(value, ORIGIN))
    except DeadRecord as dead:
        return dead.code


def _reference(value: bytes, table: GoldenTable = TABLE) -> dict[str, Any] | str:
    """The same by the reference implementation."""
    try:
        values, provenance = reference_row(table, REFERENCE(value))
    except DeadRecord as dead:
        return dead.code
    types = [(column.name, column.sql_type) for column in table.columns[1:-4]]
    row = {name: _typed(sql_type, value) for (name, sql_type), value in zip(types, values, strict=True)}
    origin = {"_topic_epoch": 1, "_partition": 2, "_offset": 3, "entity_id": "W-7"}
    return {**origin, **row, "_provenance": json.loads(json.dumps(provenance))}


def _typed(sql_type: str, value: Any) -> Any:
    """The Python value of the text that the reference implementation gives to Postgres."""
    if value is None:
        return None
    if sql_type.startswith("numeric"):
        return Decimal(value)
    if sql_type == "date":
        return date.fromisoformat(value)
    return bytes.fromhex(value[2:]) if sql_type == "bytea" else value


_NUMBER = st.integers(-(2**63), 2**63 - 1)
_SMALL = st.integers(-1, 200)
_ODD_TEXT = st.sampled_from(["a", "é", "\0", '\x7f\x1f"\\', "x" * 70])
_CONTRIBUTORS = st.builds(
    *(Contributor, st.text(), _ODD_TEXT, st.text(), st.text(), _SMALL, st.text(), _SMALL, _NUMBER, _NUMBER),
    st.none() | _NUMBER,
)
_WINNERS = st.builds(Winner, st.text(), st.integers(0, 3), st.text())


@given(records())
@settings(max_examples=300)
def test_a_row_has_the_values_of_the_reference_implementation(made: CanonicalRecord) -> None:
    value = ENCODE(made)
    assert _fast(value) == _reference(value)


@given(st.lists(_WINNERS, max_size=3), st.lists(_CONTRIBUTORS, max_size=70))
@settings(max_examples=300)
def test_the_provenance_is_the_json_of_the_reference_implementation(
    winners: list[Winner], contributors: list[Contributor]
) -> None:
    value = ENCODE(record()._replace(contributors=contributors, winners=winners))
    assert _fast(value) == _reference(value)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_arbitrary_bytes_are_read_or_refused_as_by_the_reference_implementation(body: bytes) -> None:
    value = b"\0\0\0\0\1" + body
    assert _fast(value) == _reference(value)


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=1000)
def test_a_damaged_record_is_read_or_refused_as_by_the_reference_implementation(
    chance: random.Random, known: bool
) -> None:
    """`known`: the decoder has seen the texts of the undamaged record."""
    if known:
        DECODE(ENCODE(record()), ORIGIN)
    value = bytearray(ENCODE(record()))
    for _ in range(chance.randint(1, 3)):
        value[chance.randrange(5, len(value))] = chance.randrange(256)
    cut = bytes(value[: chance.randrange(5, len(value))]) if chance.random() < 0.2 else bytes(value)
    fast, expected = _fast(cut), _reference(cut)
    if fast != expected and isinstance(fast, str) and isinstance(expected, str):
        assert {fast, expected} == {"nul-character", "time-out-of-range"}, "a record with both has either cause"
    else:
        assert _same(fast) == _same(expected)


def _same(outcome: dict[str, Any] | str) -> Any:
    """NaN equals NaN."""
    return outcome if isinstance(outcome, str) else {k: "nan" if v != v else v for k, v in outcome.items()}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"full_name": "a\0"}, "nul-character"),
        ({"hired_at": 2**62}, "time-out-of-range"),
        ({"hired_at": to_us(datetime.fromisoformat("9999-12-31T23:59:59.999999Z")) + 1}, "time-out-of-range"),
    ],
)
def test_a_value_that_postgres_can_never_store_is_a_dead_record(fields: dict[str, Any], code: str) -> None:
    value = ENCODE(record(**fields))
    assert _fast(value) == _reference(value) == code


def test_a_value_that_is_too_large_or_has_no_schema_id_is_refused() -> None:
    value = ENCODE(record())
    DECODE(value, ORIGIN)
    assert _fast(value + bytes(8 * 1024 * 1024)) == "too-large"
    assert {_fast(short) for short in (b"", value[:4], value[:5], b"\1" + value[1:])} == {"bad-avro"}


def test_a_few_hostile_bytes_cost_nothing() -> None:
    """A size or a count that promises more than there is must not be believed."""
    huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    for body in (huge, b"\x02a" + huge, b"\0" * 10 + huge, b"\x01", b"\xff" * 30):
        assert _fast(b"\0\0\0\0\1" + body) == "bad-avro"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": "R"}]},
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": ["null", "string", "int"]}]},
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": "string"}]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]},
        {"type": "string"},
    ],
)
def test_a_schema_that_is_no_canonical_records_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(DeadRecord, match="bad-avro: schema 1"):
        make_row_decoder(lambda schema_id: schema, TABLE)(b"\0\0\0\0\1\0", ORIGIN)


def test_a_field_of_another_type_than_its_column_is_refused() -> None:
    fields = [{**one, "type": ["null", "long"]} if one["name"] == "status" else one for one in SCHEMA["fields"]]
    with pytest.raises(DeadRecord, match="its field status has another type than the contract"):
        make_row_decoder(lambda schema_id: {**SCHEMA, "fields": fields}, TABLE)(ENCODE(record()), ORIGIN)


def test_fields_that_the_writers_contract_lacked_are_null_and_fields_that_left_it_are_skipped() -> None:
    *fields, provenance = SCHEMA["fields"]
    renamed = [{**one, "name": "gone"} if one["name"] == "base_pay" else one for one in fields]
    other = {**SCHEMA, "fields": [*renamed, provenance]}
    row = unpacked(TABLE, make_row_decoder(lambda schema_id: other, TABLE)(ENCODE(record()), ORIGIN))
    assert (row["base_pay_amount"], row["base_pay_currency"]) == (None, None)
    assert row["height"] == Decimal("1.700")


def test_a_provenance_with_another_member_is_read_by_the_reference_implementation() -> None:
    """A newer merger may add a member, and an older sink must go on."""
    schema = json.loads(json.dumps(SCHEMA))
    schema["fields"][-1]["type"]["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    row = unpacked(TABLE, make_row_decoder(lambda schema_id: schema, TABLE)(ENCODE(record()) + b"\0", ORIGIN))
    assert row["_provenance"]["contributors"] == [CONTRIBUTOR._asdict()]


@pytest.mark.parametrize("fields", [FIELDS, EMPTY], ids=["filled", "empty"])
def test_lists_and_json_have_the_values_of_the_reference_implementation(fields: dict[str, Any]) -> None:
    schema = avro_schema(LISTED.contract, "people")
    value = make_encoder(LISTED.contract, 1)(CanonicalRecord(fields, 1, 1_704_067_200_000_001, [], []))
    row = unpacked(LISTED, make_row_decoder(lambda schema_id: schema, LISTED)(value, LISTED_ORIGIN))
    expected = dict(fields)
    expected["about"] = json.loads(fields["about"])
    for name, typed in (("prices", Decimal), ("days", date.fromisoformat), ("keys", base64.b64decode)):
        expected[name] = None if fields[name] is None else [typed(one) for one in fields[name]]
    if row["seen_at"] is not None:
        row["seen_at"] = [to_us(one) for one in row["seen_at"]]
    assert {name: row[name] for name in fields} == expected


@pytest.mark.parametrize("changes", [{"tags": ["a\0"]}, {"seen_at": [2**62]}])
def test_a_list_with_a_value_that_postgres_can_never_store_is_a_dead_record(changes: dict[str, Any]) -> None:
    schema = avro_schema(LISTED.contract, "people")
    value = make_encoder(LISTED.contract, 1)(CanonicalRecord({**FIELDS, **changes}, 1, 1, [], []))
    with pytest.raises(DeadRecord, match=r"nul-character|time-out-of-range"):
        make_row_decoder(lambda schema_id: schema, LISTED)(value, LISTED_ORIGIN)


class Shop(Entity):
    """Names of fields that look like names in the generated code, or like columns of other fields."""

    company: Annotated[str, Identity()]
    company_size: int
    pay: Money | None = UNCLAIMED
    pay_currency_size: int | None = UNCLAIMED
    size: str | None = UNCLAIMED
    data: str | None = UNCLAIMED
    at: int | None = UNCLAIMED
    select: str | None = UNCLAIMED
    none: date | None = UNCLAIMED


@pytest.mark.parametrize("text", ["", "a", "x" * 100])
def test_no_field_is_mixed_up_with_a_part_of_another_field(text: str) -> None:
    table = GoldenTable("golden", Shop.contract())
    schema = avro_schema(table.contract, "people")
    fields = {"company": text, "company_size": 7, "pay": {"amount": "1.5000", "currency": "EUR"}, "size": text}
    fields |= {"pay_currency_size": 8, "data": None, "at": 9, "select": "*", "none": None}
    value = make_encoder(table.contract, 1)(CanonicalRecord(fields, 1, 1, [], []))
    origin = binary.pack_origin(len(table.copied), 1, 2, 3, b"N-1")
    row = unpacked(table, make_row_decoder(lambda schema_id: schema, table)(value, origin))
    amount, currency = row.pop("pay_amount"), row.pop("pay_currency")
    assert (amount, currency) == (Decimal("1.5000"), "EUR")
    assert {name: row[name] for name in fields if name != "pay"} == {n: v for n, v in fields.items() if n != "pay"}


@given(st.integers(-(10**77), 10**77), st.integers(0, 38))
def test_a_packed_numeric_is_what_psycopg_reads(unscaled: int, scale: int) -> None:
    packed = binary.pack_numeric(unscaled, scale)
    read = adapt.Transformer().get_loader(postgres.types["numeric"].oid, Format.BINARY).load(packed[4:])
    assert (read, int.from_bytes(packed[:4], "big")) == (Decimal(f"{unscaled}e-{scale}"), len(packed) - 4)


def test_the_generated_text_is_readable_in_a_traceback() -> None:
    generate_row_decoder(5, SCHEMA, TABLE)
    lines = linecache.getlines("<rows of entity worker from schema 5>")
    assert lines[2] == "def decode_row(data, first_columns):\n"
    assert "    # height: decimal\n" in lines
