"""The generated constructor of an entity creates what pydantic creates, and refuses what pydantic refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from sluice.entities import UNCLAIMED, Entity, Identity, Money, Scale
from unit.entities.test_claim_encoder import ANYTHING, VALID, Everything


class Common(Entity):
    """All fields are of types whose values pydantic can keep as they are; some must be given."""

    number: Annotated[str, Identity()]
    level: int
    remote: bool | None
    rating: float
    height: Annotated[Decimal, Scale(6, 3)] | None
    day: date
    at: datetime | None = UNCLAIMED
    pay: Money
    bonus: Money | None = UNCLAIMED
    badge: bytes = UNCLAIMED


class Wider(Common):
    other: str | None = UNCLAIMED


def created(create: Callable[[], Entity]) -> Any:
    try:
        entity = create()
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False, include_input=False)
    except Exception as error:
        return type(error)
    kept = (entity.__dict__, sorted(entity.model_fields_set), entity.__pydantic_extra__, entity.__pydantic_private__)
    return [type(entity), *kept, [type(value) for value in entity.__dict__.values()]]


VALUES = VALID | {"other": VALID["number"]}


@st.composite
def members(draw: st.DrawFn, entity: type[Entity]) -> dict[str, Any]:
    """Values for a constructor: mostly of the declared types; sometimes with one of any type, one too few, or a foreign
    one."""
    names = sorted(entity.model_fields) if draw(st.booleans()) else list(entity.model_fields)
    values = {name: draw(VALUES[name]) for name in names}
    for name, info in entity.model_fields.items():
        if not info.is_required() and draw(st.booleans()):
            values[name] = UNCLAIMED
    if draw(st.integers(0, 2)) == 0:
        values[draw(st.sampled_from(names))] = draw(ANYTHING)
    if draw(st.integers(0, 4)) == 0:
        del values[draw(st.sampled_from(names))]
    if draw(st.integers(0, 9)) == 0:
        values["unknown"] = draw(ANYTHING)
    return values


@pytest.mark.parametrize("entity", [Common, Wider, Everything])
@given(st.data())
def test_an_entity_is_created_as_pydantic_creates_it(entity: type[Entity], data: st.DataObject) -> None:
    values = data.draw(members(entity))
    by_pydantic = created(lambda: entity.model_validate(values))
    assert str(created(lambda: entity(**values))) == str(by_pydantic)


PERSON: dict[str, Any] = {
    "number": "W",
    "level": 1,
    "remote": None,
    "rating": 1.5,
    "height": Decimal("1.5"),
    "day": date(2024, 1, 1),
    "pay": Money(1, "EUR"),
}


def test_a_plain_entity_can_be_copied_pickled_compared_and_printed() -> None:
    person = Common(**PERSON)
    assert person == Common.model_validate(PERSON) == copy.deepcopy(person) == pickle.loads(pickle.dumps(person))  # noqa: S301
    assert repr(person) == repr(Common.model_validate(PERSON))
    assert person.model_copy(update={"level": 2}).level == 2
    with pytest.raises(ValidationError, match="frozen"):
        person.level = 2
    with pytest.raises(TypeError, match="positional"):
        Common("W")  # type: ignore[call-arg]


def test_a_plain_entity_is_created_without_pydantic() -> None:
    source = Common.__init__.source  # type: ignore[attr-defined]
    assert "_type(level) is _int" in source
    assert Wider.__init__ is not Common.__init__


def test_a_class_with_checks_of_its_own_keeps_the_constructor_of_pydantic() -> None:
    class Checked(Common):
        @field_validator("level")
        @classmethod
        def doubled(cls, value: int) -> int:
            return value * 2

    class Before(Common):
        @model_validator(mode="before")
        @classmethod
        def raised(cls, given: Any) -> Any:
            return {**given, "level": 7}

    class Private(Common):
        _seen: int = PrivateAttr(3)

        def seen(self) -> int:
            return self._seen

    class Stripped(Common):
        model_config = ConfigDict(str_strip_whitespace=True)

    class Posted(Common):
        def model_post_init(self, context: Any) -> None:
            object.__setattr__(self, "number", "posted")

    class Limited(Common):
        level: int = Field(ge=5)

    assert Checked(**PERSON).level == 2
    assert Before(**PERSON).level == 7
    assert Private(**PERSON).seen() == 3
    assert Stripped(**{**PERSON, "number": " W "}).number == "W"
    assert Posted(**PERSON).number == "posted"
    with pytest.raises(ValidationError, match="greater_than_equal"):
        Limited(**PERSON)
    classes: tuple[Any, ...] = (Checked, Before, Private, Stripped, Posted, Limited)
    assert all(entity.__init__ is BaseModel.__init__ for entity in classes)


def test_a_constructor_that_an_author_wrote_is_kept_and_can_call_the_generated_one() -> None:
    class Numbered(Common):
        other: str | None = UNCLAIMED

        def __init__(self, **given: Any) -> None:
            super().__init__(**{**given, "number": "N"})

    person = Numbered(**PERSON)
    assert person.number == "N"
    assert person.other is UNCLAIMED
    assert person == Numbered.model_validate(PERSON)
