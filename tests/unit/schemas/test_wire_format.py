"""The generated encoder and decoder, with fastavro as the reference implementation for every byte."""

import io
import json
import random
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.entities.contract import EntityContract
from sluice.errors import DeadRecord
from sluice.provenance import CanonicalRecord
from sluice.schemas import avro_schema, make_decoder, make_encoder
from sluice.schemas.encoder import encoder_source
from support.canonical import CONTRACT, record, records
from support.decoding import decoded
from support.workers import LedgerEntry

SCHEMA = avro_schema(CONTRACT, "workforce")
JUDGE = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
ENCODE = make_encoder(CONTRACT, 77)
DECODE = make_decoder(lambda schema_id: SCHEMA)


def _reference(made: CanonicalRecord, contract: EntityContract = CONTRACT) -> bytes:
    """What fastavro writes for the same record, given as Python values."""
    datum: dict[str, Any] = {}
    for name, value in made.fields.items():
        kind = contract.fields[name].kind
        if kind in ("timestamp", "string", "int", "bool", "float") or value is None:
            datum[name] = value
        else:
            python = decoded(contract, name, value)
            datum[name] = {"amount": python.amount, "currency": python.currency} if kind == "money" else python
    datum["_sluice"] = {
        "revision": made.revision,
        "updated_at": made.updated_at_us,
        "contributors": [one._asdict() for one in made.contributors],
        "winners": [one._asdict() for one in made.winners],
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, JUDGE, datum)
    return out.getvalue()


@given(records())
def test_the_encoder_writes_what_fastavro_writes(made: CanonicalRecord) -> None:
    assert ENCODE(made) == b"\0\0\0\0\x4d" + _reference(made)


@given(records())
def test_the_decoder_reads_what_was_encoded(made: CanonicalRecord) -> None:
    assert DECODE(ENCODE(made)).record() == made


def test_a_plain_reader_sees_typed_values() -> None:
    read: Any = fastavro.schemaless_reader(io.BytesIO(ENCODE(record())[5:]), JUDGE, None)
    assert str(read["base_pay"]["amount"]) == "-12.3000"
    assert read["birthday"].isoformat() == "1969-12-31"
    assert read["hired_at"].isoformat() == "2024-01-01T00:00:00.000001+00:00"
    assert read["_sluice"]["winners"][1] == {"field": "full_name", "contributor": 0, "rule": "source_order"}


def test_two_money_fields_share_one_named_type() -> None:
    schema = json.dumps(avro_schema(LedgerEntry.contract(), "workforce"))
    fastavro.parse_schema(json.loads(schema))
    assert schema.count('"Money"') == 1


@pytest.mark.parametrize(
    "value",
    [b"", b"\0\0\0\0", b"\1\0\0\0\1abc", b"\0\0\0\0\1", ENCODE(record())[:-1], ENCODE(record()) + b"\0"],
)
def test_bytes_that_are_no_record_are_dead(value: bytes) -> None:
    with pytest.raises(DeadRecord) as dead:
        DECODE(value)
    assert dead.value.code == "bad-avro"


def _outcome(value: bytes) -> str:
    try:
        DECODE(value)
    except DeadRecord as dead:
        return dead.code
    return "read"


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    assert _outcome(b"\0\0\0\0\1" + body) in ("read", "bad-avro")


@given(st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_a_damaged_record_is_read_or_refused_and_nothing_else(chance: random.Random) -> None:
    value = bytearray(ENCODE(record()))
    for _ in range(3):
        value[chance.randrange(5, len(value))] = chance.randrange(256)
    assert _outcome(bytes(value)) in ("read", "bad-avro")


def test_a_few_hostile_bytes_cost_nothing() -> None:
    """A length or a count that promises more than there is must not be believed."""
    huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    for body in (huge, b"\x02a" + huge, b"\0" * 10 + huge, b"\x01", b"\xff" * 30):
        with pytest.raises(DeadRecord):
            DECODE(b"\0\0\0\0\1" + body)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": "R"}]},
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": ["null", "string", "int"]}]},
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": {"type": "array", "items": "null"}}]},
        {"type": "record", "name": "R", "fields": [{"name": "_sluice", "type": {"type": "long", "logicalType": "x"}}]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]},
        {"type": "string"},
    ],
)
def test_a_schema_that_is_no_canonical_records_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(DeadRecord):
        make_decoder(lambda schema_id: schema)(b"\0\0\0\0\1\0")


def test_fields_are_read_by_the_writers_schema() -> None:
    """A consumer with a newer contract reads what an older encoder wrote."""
    fields = [f for f in SCHEMA["fields"] if f["name"] != "remote"]
    older = {**SCHEMA, "fields": fields}
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out,
        fastavro.parse_schema(json.loads(json.dumps(older))),
        {"employee_number": "W", "full_name": "Z", "_sluice": _empty_provenance()},
    )
    read = make_decoder(lambda schema_id: older)(b"\0\0\0\0\1" + out.getvalue())
    assert read.fields["employee_number"] == "W"
    assert "remote" not in read.fields


def _empty_provenance() -> dict[str, Any]:
    return {"revision": 1, "updated_at": 0, "contributors": [], "winners": []}


def test_a_decimal_at_another_scale_is_never_written() -> None:
    with pytest.raises(ValueError, match="2 digits after the point where the contract has 3"):
        ENCODE(record(height="1.70"))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64 - 1])
def test_a_number_that_no_long_can_contain_is_never_written(number: int) -> None:
    with pytest.raises(OverflowError, match="64 bits"):
        ENCODE(record(level=number))


def test_a_traceback_shows_the_generated_line_of_the_field() -> None:
    with pytest.raises(AttributeError) as raised:
        ENCODE(record(full_name=1))
    assert "string(fields['full_name'])," in str(raised.traceback[1].statement)
    assert "string(fields['full_name'])," in encoder_source(CONTRACT)
