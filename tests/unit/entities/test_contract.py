"""The contract read from an entity's class: fields, identity, rules, and what is refused with its place."""

import pickle
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, ConfigDict, Field, ValidationError

from sluice.entities import UNCLAIMED, Entity, Identity, Money, Prefer, Scale, Unit, most_recent, prefer
from sluice.entities.contract import contract_of
from sluice.entities.entity import snake_case
from sluice.errors import DeadRecord, SettingsError
from support.workers import LedgerEntry, Worker


def test_a_class_is_read_as_a_contract() -> None:
    contract = Worker.contract()
    assert (contract.name, contract.record_name, contract.version) == ("worker", "Worker", 2)
    assert contract.identity == "employee_number"
    assert contract.required == ("employee_number", "full_name")
    assert contract.rules["base_pay"] == Prefer(("workday", "erp"))
    assert contract.rules["base_pay"].name == "prefer(workday,erp)"
    assert contract.rules["status"] == most_recent()
    assert contract.rules["full_name"].name == "source_order"
    height = contract.fields["height"]
    assert (height.kind, height.precision, height.scale, height.unit, height.nullable) == ("decimal", 10, 3, "m", True)


def test_money_and_decimals_have_default_digits() -> None:
    class Thing(Entity):
        id: Annotated[str, Identity()]
        price: Money
        weight: Decimal

    fields = Thing.contract().fields
    assert (fields["price"].precision, fields["price"].scale) == (38, 4)
    assert (fields["weight"].precision, fields["weight"].scale) == (38, 9)


@pytest.mark.parametrize(
    ("name", "snake"), [("Worker", "worker"), ("LedgerEntry", "ledger_entry"), ("HRCase", "hr_case"), ("A1b", "a1b")]
)
def test_an_entity_s_name_is_its_class_s_in_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_name_and_version_can_be_declared() -> None:
    class Thing(Entity, name="gadget", version=7):
        id: Annotated[str, Identity()]

    assert (Thing.contract().name, Thing.contract().version) == ("gadget", 7)


@pytest.mark.parametrize(
    ("keywords", "reason"),
    [
        ({"name": "a b"}, r"a name is spelled \[a-z\].* Next: give one with name="),
        ({"name": "x" * 64}, "a name has at most 63 characters"),
        ({"name": "x" * 53}, "its name has more than 52 characters"),
        *(({"version": version}, "a whole number from 1") for version in (0, 1.5, True, 2**31)),
    ],
)
def test_a_name_or_version_that_cannot_be_stored_is_refused(keywords: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"test_contract\.Thing: .*{reason}"):

        class Thing(Entity, **keywords):
            id: Annotated[str, Identity()]


def test_a_field_that_was_left_out_or_given_unclaimed_is_not_claimed_and_none_is() -> None:
    worker = Worker(employee_number="W-1", full_name=UNCLAIMED, base_pay=None)
    assert worker.model_fields_set == {"employee_number", "base_pay"}
    assert worker.height is UNCLAIMED
    assert repr(UNCLAIMED) == "UNCLAIMED"


def test_a_copy_of_unclaimed_is_unclaimed() -> None:
    worker = Worker(employee_number="W-1").model_copy(deep=True)
    assert worker.full_name is UNCLAIMED
    assert pickle.loads(pickle.dumps(UNCLAIMED)) is UNCLAIMED  # noqa: S301


def test_the_identity_and_a_field_without_the_default_must_be_given() -> None:
    with pytest.raises(ValidationError, match=r"entry_id\n  Field required"):
        LedgerEntry(entry_id=UNCLAIMED, amount=Money(1, "EUR"))
    with pytest.raises(ValidationError, match=r"amount\n  Field required"):
        LedgerEntry(entry_id="L-1")  # type: ignore[call-arg]


def test_the_only_default_of_a_field_is_unclaimed() -> None:
    with pytest.raises(SettingsError, match=r"test_contract\.Thing\.label: its default is never claimed"):

        class Thing(Entity):
            id: Annotated[str, Identity()]
            label: str | None = None

    with pytest.raises(SettingsError, match=r"test_contract\.Open\.id: every mapping gives it"):

        class Open(Entity):
            id: Annotated[str, Identity()] = UNCLAIMED


@pytest.mark.parametrize("extra", ["ignore", "allow"])
def test_a_class_that_accepts_misspelt_fields_is_refused(extra: Any) -> None:
    with pytest.raises(SettingsError, match=rf'test_contract\.Thing: extra="{extra}" .*Next: remove extra'):

        class Thing(Entity):
            model_config = ConfigDict(extra=extra)
            id: Annotated[str, Identity()]

    with pytest.raises(SettingsError, match=rf'test_contract\.Other: extra="{extra}"'):

        class Other(Entity, extra=extra):
            id: Annotated[str, Identity()]


def test_an_alias_of_a_field_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"test_contract\.Thing\.label: it has an alias.*Next: remove the alias"):

        class Thing(Entity):
            id: Annotated[str, Identity()]
            label: str = Field(UNCLAIMED, alias="Label")

    with pytest.raises(SettingsError, match=r"test_contract\.Other\.label: it has an alias"):

        class Other(Entity):
            id: Annotated[str, Identity()]
            label: str = Field(UNCLAIMED, validation_alias=AliasChoices("label", "Label"))

    with pytest.raises(SettingsError, match=r"test_contract\.Third: alias_generator.*Next: remove alias_generator"):

        class Third(Entity):
            model_config = ConfigDict(alias_generator=str.upper)
            id: Annotated[str, Identity()]


def test_other_settings_of_pydantic_are_accepted() -> None:
    class Thing(Entity):
        model_config = ConfigDict(str_strip_whitespace=True)
        id: Annotated[str, Identity()]

    assert Thing(id=" a ").id == "a"


def _refused(**annotations: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        type("Thing", (Entity,), {"__annotations__": annotations, "__module__": __name__})
    return str(refused.value)


ID = Annotated[str, Identity()]


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"a": str}, "exactly one field marked Identity()"),
        ({"a": ID, "b": ID}, "exactly one field marked Identity()"),
        ({"a": Annotated[int, Identity()]}, "an identity is a str, neither another type nor None. Next: declare str"),
        ({"a": Annotated[str | None, Identity()]}, "an identity is a str"),
        ({"a": ID, "b": dict[str, str]}, "known types"),
        ({"a": ID, "b": int | str}, "not one type"),
        ({"a": ID, "Name": str}, "[a-z][a-z0-9_]*"),
        ({"a": ID, "entity_id": str}, "but not contract or entity_id"),
        ({"a": ID, "b": Annotated[str, prefer("x"), most_recent()]}, "2 survivorship rules"),
        ({"a": ID, "pay": Money, "pay_amount": Decimal}, "column pay_amount twice"),
        ({"a": ID, "b": Annotated[str, Scale(3, 1)]}, "Scale belongs to"),
        ({"a": ID, "xmin": str}, "the name of column xmin is Postgres's own"),
        ({"a": ID, "b" * 64: str}, "has over 63 characters"),
        ({"a": ID, "b" * 55: Money}, "_currency has over 63 characters"),
    ],
)
def test_a_class_that_is_no_contract_is_refused_with_its_name(annotations: dict[str, Any], reason: str) -> None:
    assert reason in _refused(**annotations)


def test_another_field_rule_or_type_is_another_fingerprint() -> None:
    def fingerprint_of(**annotations: Any) -> str:
        thing = type("Thing", (Entity,), {"__annotations__": {"a": ID, **annotations}, "__module__": __name__})
        return contract_of(thing, "thing", 1).fingerprint

    prints = {
        fingerprint_of(b=str),
        fingerprint_of(b=str | None),
        fingerprint_of(b=date),
        fingerprint_of(b=Annotated[str, prefer("x")]),
        fingerprint_of(b=Annotated[str, prefer("y")]),
        fingerprint_of(b=str, c=str),
        fingerprint_of(b=Decimal),
        fingerprint_of(b=Annotated[Decimal, Scale(10, 2)]),
        fingerprint_of(b=Annotated[Decimal, Unit("m")]),
    }
    assert len(prints) == 9
    assert fingerprint_of(b=str) == fingerprint_of(b=str)


def test_the_entity_id_is_the_normalised_identity() -> None:
    assert Worker.contract().entity_id("  W-7 ") == "W-7"
    assert LedgerEntry.contract().entity_id("a-1") == "A-1"
    assert Worker.contract().entity_id("Zoe\u0308") == "Zo\u00eb"


@pytest.mark.parametrize(("value", "code"), [("  ", "missing-identity"), ("x" * 1025, "identity-too-long")])
def test_an_empty_or_too_long_identity_is_a_dead_record(value: str, code: str) -> None:
    with pytest.raises(DeadRecord) as dead:
        Worker.contract().entity_id(value)
    assert dead.value.code == code
    assert value.strip() == "" or value not in str(dead.value)
