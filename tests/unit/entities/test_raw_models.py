"""A raw model may be a msgspec Struct: it reads what a pydantic model reads, and its dead letters promise the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import IPv4Interface
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from sluice.entities import (
    UNCLAIMED,
    Entity,
    EpochDate,
    Identity,
    Json,
    JsonText,
    MicroTimestamp,
    MilliTimestamp,
    Money,
    OpenEnum,
    mapping,
)
from sluice.errors import DeadRecord, SettingsError


class Mood(OpenEnum):
    GOOD = "gut"
    UNKNOWN = "unknown"


class Person(Entity):
    number: Annotated[str, Identity()]
    pay: Money | None = UNCLAIMED
    hired_on: date | None = UNCLAIMED
    seen_at: datetime | None = UNCLAIMED
    mood: Mood | None = UNCLAIMED


class Pay(msgspec.Struct):
    amount: Decimal
    currency: Literal["EUR", "USD"] = "EUR"


class Row(msgspec.Struct, rename="camel"):
    id: int
    base_pay: Pay | None = None
    hired_on: EpochDate | None = None
    seen_at: MicroTimestamp | None = None
    left_at: Annotated[MilliTimestamp | None, "kept"] = None
    changed_at: datetime | None = None
    mood: Mood | None = None
    tags: dict[str, list[int]] = {}

    def __post_init__(self) -> None:
        if self.id == 13:
            raise ValueError("Secretson 13")
        if self.id == 14:
            raise KeyError("Secretson 14")

    def at(self) -> datetime | None:
        return self.changed_at


@mapping(source="hr.people", version=1, effective_at=Row.at)
def person(raw: Row) -> Person:
    pay = None if raw.base_pay is None else Money(raw.base_pay.amount, raw.base_pay.currency)
    return Person(number=str(raw.id), pay=pay, hired_on=raw.hired_on, seen_at=raw.seen_at, mood=raw.mood)


class PydanticPay(BaseModel):
    amount: Decimal
    currency: Literal["EUR", "USD"] = "EUR"


class PydanticRow(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    id: int
    base_pay: PydanticPay | None = None
    hired_on: EpochDate | None = None
    seen_at: MicroTimestamp | None = None
    changed_at: datetime | None = None
    mood: Mood | None = None

    def at(self) -> datetime | None:
        return self.changed_at


@mapping(source="hr.people", version=1, effective_at=PydanticRow.at, name="person")
def pydantic_person(raw: PydanticRow) -> Person:
    pay = None if raw.base_pay is None else Money(raw.base_pay.amount, raw.base_pay.currency)
    return Person(number=str(raw.id), pay=pay, hired_on=raw.hired_on, seen_at=raw.seen_at, mood=raw.mood)


ROWS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.integers(20, 2**62)},
    optional={
        "basePay": st.none()
        | st.fixed_dictionaries(
            {"amount": st.decimals(-(10**9), 10**9, places=4).flatmap(lambda d: st.sampled_from([d, str(d)]))},
            optional={"currency": st.sampled_from(["EUR", "USD"])},
        ),
        "hiredOn": st.none() | st.integers(-100_000, 100_000) | st.dates().map(str),
        "seenAt": st.none() | st.integers(-(10**15), 10**15) | st.just("2026-01-02T03:04:05Z"),
        "changedAt": st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        "mood": st.sampled_from(["gut", "schlecht", None]),
        "more": st.none(),
    },
)


@given(ROWS)
def test_a_struct_reads_what_a_pydantic_model_reads(row: dict[str, Any]) -> None:
    kept = dict(row)
    assert person.apply(row) == pydantic_person.apply(row)
    assert person.apply_encoded(row) == pydantic_person.apply_encoded(row)
    assert person.fast_claim(row) == pydantic_person.fast_claim(row)
    assert row == kept


DEAD: list[tuple[Any, str, str]] = [
    ({}, "missing-member", "id: missing"),
    ({"id": "Secretson"}, "wrong-type", "id: Expected int, got str"),
    ({"id": 13}, "wrong-type", "record: value_error"),
    ({"id": 14}, "mapping-failed", "KeyError"),
    ({"id": 1, "basePay": {"amount": "Secretson"}}, "wrong-type", "basePay.amount: Invalid decimal string"),
    ({"id": 1, "basePay": {}}, "missing-member", "basePay.amount: missing"),
    ({"id": 1, "basePay": {"amount": 1, "currency": "Secretson"}}, "wrong-type", "basePay.currency: invalid"),
    ({"id": 1, "hiredOn": 2**62}, "wrong-type", "hiredOn: value_error"),
    ({"id": 1, "hiredOn": "Secretson"}, "wrong-type", "hiredOn: Invalid RFC3339 encoded date"),
    ({"id": 1, "seenAt": [7]}, "wrong-type", "seenAt: Expected datetime | null, got array"),
    ({"id": 1, "mood": 7}, "wrong-type", "mood: Expected str | null, got int"),
    ({"id": 1, "tags": {"Secretson": [1, "x"]}}, "wrong-type", "tags.*.[1]: Expected int, got str"),
    ({"id": 1, "tags": {7: [1]}}, "wrong-type", "tags: Expected str, got int"),
]


@pytest.mark.parametrize(("row", "code", "reason"), DEAD)
def test_a_dead_letter_names_the_member_and_the_cause_and_never_the_value(row: Any, code: str, reason: str) -> None:
    with pytest.raises(DeadRecord) as dead:
        person.apply(row)
    assert dead.value.code == code
    assert reason in dead.value.reason
    assert "mapping person, " in dead.value.reason
    assert "Secretson" not in str(dead.value)
    assert person.fast_claim(row) is None


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    id: int


@mapping(source="hr.people", version=1)
def strict(raw: Strict) -> Person:
    return Person(number=str(raw.id))


@given(st.text())
def test_the_name_of_an_unknown_member_is_not_shown(name: str) -> None:
    with pytest.raises(DeadRecord, match=r"hr\.people: (\*|record): no such field \(mapping strict"):
        strict.apply({"id": 1, f"Secretson{name}": 2})


class Node(msgspec.Struct):
    inner: Node | None = None


class Named(msgspec.Struct):
    value: str | Node


@mapping(source="hr.people", version=1)
def nested(raw: Node) -> Person:
    return Person(number="1")


def test_a_long_path_is_shortened() -> None:
    record: Any = 7
    for _ in range(30):
        record = {"inner": record}
    with pytest.raises(DeadRecord, match=rf"hr\.people: {'inner.' * 20}…: Expected object . null, got int"):
        nested.apply(record)


class WithField(msgspec.Struct):
    id: Annotated[str, Field(min_length=3)]


class WithFieldAndTime(msgspec.Struct):
    at: Annotated[int, Field(ge=1)] | MicroTimestamp


class WithModel(msgspec.Struct):
    pay: list[PydanticPay]


class WithDateInside(msgspec.Struct):
    dates: list[EpochDate]


class Inner(msgspec.Struct):
    day: EpochDate


class WithStruct(msgspec.Struct):
    inner: Inner | None


class WithJsonText(msgspec.Struct):
    text: JsonText


class WithJson(msgspec.Struct):
    about: Json


class WithUnion(msgspec.Struct):
    either: Pay | Inner


class WithAddress(msgspec.Struct):
    door: IPv4Interface | None = None


class WithAnything(msgspec.Struct):
    number: str
    other: object = None
    later: int | msgspec.UnsetType = msgspec.UNSET
    code: Annotated[str, msgspec.Meta(max_length=3)] = ""
    rank: Annotated[int, msgspec.Meta(ge=-1)] = 0


@mapping(source="hr.people", version=1)
def anything(raw: WithAnything) -> Person:
    return Person(number=raw.number)


def test_a_struct_may_take_any_value_and_its_dead_letters_name_its_members() -> None:
    assert anything.apply({"number": "1", "other": {"a": 1}, "later": 2})[0].entity_id == "1"
    with pytest.raises(DeadRecord, match="number: Expected str, got int"):
        anything.apply({"number": 1})


def test_a_limit_that_the_model_declares_is_named() -> None:
    with pytest.raises(DeadRecord, match="code: Expected str of length <= 3"):
        anything.apply({"number": "1", "code": "Secretson"})
    with pytest.raises(DeadRecord, match="rank: Expected int >= -1"):
        anything.apply({"number": "1", "rank": -7})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WithFieldAndTime, "WithFieldAndTime.at: msgspec cannot read pydantic's FieldInfo"),
        (WithField, "WithField.id: msgspec cannot read pydantic's FieldInfo"),
        (WithModel, "WithModel.pay: msgspec cannot read PydanticPay"),
        (WithDateInside, "must be a member of WithDateInside itself"),
        (WithStruct, "must be a member of WithStruct itself"),
        (WithJsonText, "msgspec cannot read WithJsonText: Type 'JsonValue' is not supported"),
        (WithJson, "msgspec cannot read WithJson: Type 'JsonValue' is not supported"),
        (WithUnion, "msgspec cannot read WithUnion"),
        (WithAddress, "WithAddress.door: msgspec cannot read IPv4Interface. Next: use a type that msgspec reads"),
    ],
)
def test_a_struct_that_msgspec_cannot_read_is_refused_at_its_declaration(model: Any, message: str) -> None:
    def declared(raw: Any) -> Person:
        return Person(number="1")

    declared.__annotations__["raw"] = model
    decorate: Callable[[Any], Any] = mapping(source="hr.people", version=1)
    with pytest.raises(SettingsError, match=message):
        decorate(declared)
