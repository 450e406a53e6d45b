"""Fields with lists and JSON values: what is accepted, how it is encoded, what is refused."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import fastavro
import pytest
from pydantic import BaseModel

from sluice import json_text
from sluice.entities import Entity, Identity, Json, JsonText, Money, OpenEnum, Scale, mapping, values
from sluice.entities.encoders import STORED_JSON_LEVELS_MAX
from sluice.errors import DeadRecord, SettingsError
from sluice.golden.columns import GoldenTable
from sluice.provenance import CanonicalRecord
from sluice.schemas import avro_schema, make_decoder, make_encoder
from support.decoding import decoded
from support.lists import EMPTY, FIELDS, Listed, Mood

CONTRACT = Listed.contract()
SCHEMA = avro_schema(CONTRACT, "people")


def record(fields: dict[str, Any]) -> CanonicalRecord:
    return CanonicalRecord(fields, 1, 1_704_067_200_000_001, [], [])


@pytest.mark.parametrize("fields", [FIELDS, EMPTY], ids=["filled", "empty"])
def test_the_encoding_is_that_of_fastavro_and_can_be_read_back(fields: dict[str, Any]) -> None:
    encoded = make_encoder(CONTRACT, 7)(record(fields))
    assert make_decoder(lambda schema_id: SCHEMA)(encoded).fields == fields
    judge = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
    datum = {name: _python(name, value) for name, value in fields.items()}
    datum["_sluice"] = {"revision": 1, "updated_at": 1_704_067_200_000_001, "contributors": [], "winners": []}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, judge, datum)
    assert encoded[5:] == out.getvalue()


def _python(name: str, value: Any) -> Any:
    """As fastavro takes it: times as numbers, JSON as its text, all else as Python values."""
    return value if name in ("seen_at", "about") or value is None else decoded(CONTRACT, name, value)


def test_a_list_is_encoded_item_by_item_and_json_as_its_canonical_text() -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    given = {
        "levels": [1, None],
        "prices": [Decimal("1.5")],
        "seen_at": [noon],
        "days": [date(2024, 1, 1)],
        "moods": [Mood("never heard of")],
        "about": {"b": [1.0, 1e22, -0.0], "a": None},
    }
    spelled = {name: CONTRACT.encoders[name](value) for name, value in given.items()}
    assert spelled == {
        "levels": [1, None],
        "prices": ["1.50"],
        "seen_at": [1704110400000000],
        "days": ["2024-01-01"],
        "moods": ["unknown"],
        "about": '{"a":null,"b":[1,1e+22,0]}',
    }
    assert decoded(CONTRACT, "prices", ["1.50"]) == [Decimal("1.50")]
    assert decoded(CONTRACT, "about", '{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("tags", "a text is no list", "wrong-type"),
        ("tags", [None], "null-in-required-field"),
        ("tags", ["\0"], "nul-character"),
        ("levels", [2**63], "number-out-of-range"),
        ("prices", [1.5], "wrong-type"),
        ("about", {"a": "\0"}, "nul-character"),
        ("about", {"\0": 1}, "nul-character"),
        ("about", ["\ud800"], "invalid-unicode"),
        ("about", [float("nan")], "not-finite"),
        ("about", [2**63], "number-out-of-range"),
        ("about", {1: 2}, "wrong-type"),
        ("about", {"a": Decimal(1)}, "wrong-type"),
    ],
)
def test_a_list_or_json_that_cannot_be_stored_is_refused_and_not_quoted(field: str, value: Any, code: str) -> None:
    with pytest.raises(DeadRecord) as dead:
        CONTRACT.encoders[field](value)
    assert dead.value.code == code
    assert f"listed.{field}" in dead.value.reason


def test_json_with_too_many_levels_is_refused() -> None:
    nested: Any = 1
    for _ in range(STORED_JSON_LEVELS_MAX):
        nested = [nested]
    assert CONTRACT.encoders["about"](nested) == "[" * STORED_JSON_LEVELS_MAX + "1" + "]" * STORED_JSON_LEVELS_MAX
    with pytest.raises(DeadRecord, match=f"nested more than {STORED_JSON_LEVELS_MAX} deep"):
        CONTRACT.encoders["about"]([nested])


class Wrapped(BaseModel):
    about: Json


@mapping("books.books", version=1)
def filtered(raw: Wrapped) -> Listed | None:
    return None


@pytest.mark.parametrize("levels", [values.RAW_JSON_LEVELS_MAX + 1, 500])
def test_json_of_more_levels_than_pydantic_reads_is_reported_as_that(levels: int) -> None:
    nested: Any = 1
    for _ in range(values.RAW_JSON_LEVELS_MAX):
        nested = [nested]
    assert filtered.apply({"about": nested}) == []
    for _ in range(values.RAW_JSON_LEVELS_MAX, levels):
        nested = [nested]
    with pytest.raises(DeadRecord, match=r"books\.books: about: nested more than 200 deep") as dead:
        filtered.apply({"about": nested})
    assert dead.value.code == "wrong-type"


@pytest.mark.parametrize("inside", [list[int], Money, Json], ids=["lists", "money", "json"])
def test_a_list_has_plain_items_only(inside: Any) -> None:
    with pytest.raises(SettingsError, match=r"a list has plain items\. Next: for anything else take Json"):
        type("Odd", (Entity,), {"__annotations__": {"number": Annotated[str, Identity()], "odd": list[inside]}})


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (list[int] | list[str], "is not one type"),
        (Annotated[list[Decimal], Scale(8, 2)], r"Scale and Unit belong to the item: list\[Annotated"),
    ],
)
def test_an_annotation_that_no_list_can_have_is_refused(annotation: Any, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        type("Odd", (Entity,), {"__annotations__": {"number": Annotated[str, Identity()], "odd": annotation}})


def test_a_list_is_an_array_column_and_json_is_jsonb() -> None:
    columns = {one.name: one.sql_type for one in GoldenTable("golden", CONTRACT).columns}
    assert columns["tags"] == "text[]"
    assert columns["prices"] == "numeric(8,2)[]"
    assert columns["seen_at"] == "timestamp with time zone[]"
    assert columns["about"] == "jsonb"


def test_a_column_of_type_json_is_read_from_its_text_and_claimed_as_a_value() -> None:
    class Raw(BaseModel):
        about: JsonText | None

    read = Raw.model_validate({"about": '{"pages": 120, "big": 12345678901234567890123}'}).about
    assert read == {"pages": 120, "big": 12345678901234567890123}
    with pytest.raises(DeadRecord, match="number-out-of-range"):
        CONTRACT.encoders["about"](read)
    assert Raw.model_validate({"about": '"a text"'}).about == "a text"
    assert Raw.model_validate({"about": None}).about is None
    with pytest.raises(ValueError, match="about"):
        Raw.model_validate({"about": "no JSON"})


def test_a_json_member_of_a_polled_record_is_read_with_its_fractions() -> None:
    class Raw(BaseModel):
        about: Json | None

    read = Raw.model_validate({"about": json_text.decode(b'{"a":[1.5,2,{"b":0.1}],"c":null}')}).about
    assert read == {"a": [1.5, 2, {"b": 0.1}], "c": None}
    decimals: Any = {"a": Decimal("1.5")}
    assert CONTRACT.encoders["about"](Listed(number="N", about=decimals).about) == '{"a":1.5}'
    beyond = Raw.model_validate({"about": json_text.decode(b"1e400")}).about
    with pytest.raises(DeadRecord, match="not-finite"):
        CONTRACT.encoders["about"](beyond)


def test_an_open_enum_reads_what_it_does_not_know_as_unknown() -> None:
    class Raw(BaseModel):
        mood: Mood

    assert Raw.model_validate({"mood": "fine"}).mood is Mood.FINE
    assert Raw.model_validate({"mood": "new since yesterday"}).mood is Mood.UNKNOWN
    with pytest.raises(ValueError, match="mood"):
        Raw.model_validate({"mood": 5})


def test_an_open_enum_without_unknown_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"Closed: an OpenEnum reads .* Next: add UNKNOWN"):

        class Closed(OpenEnum):
            A = "a"
