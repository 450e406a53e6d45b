"""The generated claim encoder decides and writes exactly what the contract's encoders do."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sluice.canonical_json import canonical_bytes
from sluice.entities import UNCLAIMED, Entity, Identity, Json, Money, OpenEnum, Scale, mapping, most_recent
from sluice.entities.claims import EncodedClaim
from sluice.errors import DeadRecord
from sluice.position import Position
from sluice.provenance import Contribution, ContributionWriter, Origin, RawRef


class Mood(OpenEnum):
    GOOD = "gut"
    UNKNOWN = "unknown"


class Text(str):
    pass


class Everything(Entity, version=3):
    """Fields of all kinds, in another order than that of their names."""

    number: Annotated[str, Identity()]
    required_text: str
    values: str | None = UNCLAIMED
    given: Mood | None = UNCLAIMED
    level: int = UNCLAIMED
    other_level: int | None = UNCLAIMED
    remote: bool = UNCLAIMED
    rating: float | None = UNCLAIMED
    height: Annotated[Decimal, Scale(6, 3)] | None = UNCLAIMED
    share: Annotated[Decimal, Scale(4, 4)] = UNCLAIMED
    count: Annotated[Decimal, Scale(5, 0)] = UNCLAIMED
    day: date | None = UNCLAIMED
    at: datetime = UNCLAIMED
    seen_at: datetime | None = UNCLAIMED
    pay: Money = UNCLAIMED
    bonus: Annotated[Money | None, Scale(8, 2)] = UNCLAIMED
    badge: bytes | None = UNCLAIMED
    tags: list[str | None] | None = UNCLAIMED
    ratings: list[float] = UNCLAIMED
    prices: list[Annotated[Decimal, Scale(8, 2)]] = UNCLAIMED
    about: Json | None = UNCLAIMED
    note: Json = UNCLAIMED


class Normalised(Entity):
    number: Annotated[str, Identity(lambda text: {"boom": None, "empty": ""}.get(text, text.upper()))]


class Dated(Entity):
    number: Annotated[str, Identity()]
    name: Annotated[str | None, most_recent()] = UNCLAIMED


class Row(BaseModel):
    pass


RESULT: dict[str, Any] = {}


@mapping(source="erp.things", version=7)
def everything(raw: Row) -> Everything:
    result: Everything = RESULT["entity"]
    return result


@mapping(source="erp.things", version=7)
def normalised(raw: Row) -> Normalised:
    result: Normalised = RESULT["entity"]
    return result


@mapping(source="erp.things", version=7)
def dated(raw: Row) -> Dated:
    result: Dated = RESULT["entity"]
    return result


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["", " W-1 ", "Zoë", "Zoe\u0308", "a\0b", "\ud800", '\\u0000 "quoted"', "\x1f\x7f\u2028", "😀", "x" * 1025]
)
DECIMALS = st.decimals() | st.sampled_from(
    [
        *map(Decimal, ("0", "-0", "-0.0004", "0.00000001", "1e-30", "1e30", "1e999999", "-12.3456", "999.9995")),
        *map(Decimal, ("99999", "99999.5", "-99999", "100000", "0.99995", "NaN", "-NaN7", "sNaN", "Infinity")),
        Decimal((0, (1,) * 120, -60)),
    ]
)
ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-14, minutes=-30))])
TIMES = st.datetimes(timezones=ZONES) | st.sampled_from(
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=2))),
    ]
)
MONEY = st.builds(
    lambda amount, currency: Money.model_construct(amount=amount, currency=currency),
    DECIMALS | st.integers() | st.floats(),
    st.sampled_from(["EUR", "USD", "eur", "EURO", "", "ÄÖÜ", "E1R"]),
)
NUMBERS = st.integers() | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**53, 2**64])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ANYTHING = st.one_of(
    st.none(),
    TEXTS,
    st.sampled_from([*Mood, Text("W"), Text("a\0")]),
    NUMBERS,
    st.booleans(),
    st.floats(),
    DECIMALS,
    st.dates(),
    TIMES,
    MONEY,
    st.binary(max_size=5),
    st.lists(TEXTS | st.none() | st.floats() | DECIMALS, max_size=3),
    JSON,
    st.just(UNCLAIMED),
)
VALID: dict[str, st.SearchStrategy[Any]] = {
    "number": TEXTS,
    "required_text": TEXTS,
    "values": TEXTS | st.none(),
    "given": st.sampled_from([*Mood, None]),
    "level": NUMBERS,
    "other_level": NUMBERS | st.none(),
    "remote": st.booleans(),
    "rating": st.floats() | st.none(),
    "height": DECIMALS | st.none(),
    "share": DECIMALS,
    "count": DECIMALS,
    "day": st.dates() | st.none(),
    "at": TIMES,
    "seen_at": TIMES | st.none(),
    "pay": MONEY,
    "bonus": MONEY | st.none(),
    "badge": st.binary(max_size=9) | st.none(),
    "tags": st.lists(TEXTS | st.none(), max_size=3) | st.none(),
    "ratings": st.lists(st.floats(), max_size=3),
    "prices": st.lists(DECIMALS, max_size=3),
    "about": JSON,
    "note": JSON,
}


@st.composite
def entities(draw: st.DrawFn) -> Everything:
    """Entities with few given fields, so that often none is refused; sometimes with values of another type, or with the
    wrong set of given fields."""
    names = {"number", "required_text", *draw(st.lists(st.sampled_from(sorted(VALID)), max_size=4))}
    values = {name: draw(VALID[name]) for name in sorted(names)}
    if draw(st.integers(0, 3)) == 0:
        values[draw(st.sampled_from(sorted(names)))] = draw(ANYTHING)
    if draw(st.integers(0, 9)) == 0:
        return Everything.model_construct(set(draw(st.lists(st.sampled_from(sorted(VALID))))), **values)
    return Everything.model_construct(**values)


def applied(apply: Any) -> Any:
    try:
        return apply({})
    except DeadRecord as refused:
        return refused.code, refused.reason


def require_equal(declared: Any, entity: Entity) -> Any:
    """Apply a mapping that returns `entity` in both ways, and return the claims of the fast one, or what it raised."""
    RESULT["entity"] = entity
    fast, reference = applied(declared.apply_encoded), applied(declared.apply)
    if isinstance(reference, list):
        reference = [
            EncodedClaim(c.entity, c.entity_id, c.output, canonical_bytes(c.fields), c.effective_at) for c in reference
        ]
    assert fast == reference
    return fast


@given(entities())
def test_the_claim_is_byte_for_byte_that_of_the_encoders_or_refused_for_the_same_reason(entity: Everything) -> None:
    require_equal(everything, entity)


@given(st.sampled_from(sorted(VALID)), ANYTHING)
@example("note", None)
def test_a_value_of_any_type_is_encoded_or_refused_as_by_the_encoder(name: str, value: Any) -> None:
    values = {"number": "W", "required_text": "", name: value}
    require_equal(everything, Everything.model_construct(**values))


@given(st.sampled_from(["boom", "empty", "zoë", "w"]) | TEXTS)
def test_an_identity_is_normalised_by_the_authors_function(number: str) -> None:
    require_equal(normalised, Normalised.model_construct(number=number))


def test_a_claim_that_needs_an_effective_time_is_refused() -> None:
    assert require_equal(dated, Dated(number="W", name="Zoë"))[0] == "no-effective-time"
    assert require_equal(dated, Dated(number="W"))[0].fields == b'{"number":"W"}'


@pytest.mark.parametrize("entity", [Everything, Normalised])
def test_an_entity_of_another_class_is_refused(entity: type[Entity]) -> None:
    other = Dated(number="W")
    assert require_equal(everything if entity is Everything else normalised, other)[0] == "mapping-failed"


@given(st.data())
def test_common_values_do_not_need_the_encoders_of_the_contract(data: st.DataObject) -> None:
    text = data.draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\")))
    entity = Everything.model_construct(
        number="W",
        required_text=text,
        pay=Money("12.5", "EUR"),
        at=data.draw(st.datetimes(timezones=st.just(UTC))),
        height=Decimal("-1.5"),
        level=2**63 - 1,
        rating=0.5,
    )
    require_equal(everything, entity)
    encoder = Everything.contract().claim_encoder
    assert encoder.encode(entity.__dict__, entity.model_fields_set) is not None


def test_the_generated_text_has_the_fields_in_order_and_tracebacks_show_it() -> None:
    encoder = Everything.contract().claim_encoder
    written = [line.split('"')[1] for line in encoder.source.splitlines() if line.startswith('    if "')]
    assert written == sorted(Everything.model_fields)
    with pytest.raises(KeyError) as raised:
        encoder.encode({}, {"number"})
    shown = traceback.format_exception(raised.value)
    assert any('entity_id_of(values["number"])' in line for line in shown)


PLAIN = Context(prec=100, rounding=ROUND_HALF_EVEN)


@given(DECIMALS, st.sampled_from(["height", "share", "count"]))
@example(Decimal("999.9995"), "height")
@example(Decimal("-0.00049"), "height")
def test_a_decimal_is_rounded_half_even_to_its_scale_or_out_of_range(value: Decimal, name: str) -> None:
    kind = Everything.contract().fields[name]
    try:
        encoded = Everything.contract().encoders[name](value)
    except DeadRecord as refused:
        encoded = refused.code
    if not value.is_finite():
        assert encoded == "not-finite"
        return
    limit = Decimal(10) ** (kind.precision - kind.scale)
    try:
        rounded = value.quantize(Decimal(1).scaleb(-kind.scale), context=PLAIN)
    except InvalidOperation:
        rounded = limit
    fits = -limit < rounded < limit
    assert encoded == (format(rounded if rounded else PLAIN.abs(rounded), "f") if fits else "number-out-of-range")


ORIGINS = st.builds(
    Origin,
    TEXTS.filter(lambda text: "\ud800" not in text),
    st.builds(Position, *[st.integers(0, 2**63 - 1)] * 3),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
)
FIELDS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=4), JSON.filter(lambda value: _is_canonical(value)), max_size=3
)


def _is_canonical(value: Any) -> bool:
    try:
        canonical_bytes(value)
    except Exception:
        return False
    return True


@given(
    ORIGINS,
    TEXTS.filter(lambda text: "\ud800" not in text),
    FIELDS,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)
def test_a_contribution_is_byte_for_byte_the_plain_one(
    origin: Origin, text: str, fields: dict[str, Any], effective_at: int | None, retracted: bool
) -> None:
    reference = Contribution(
        entity_id=text,
        source="erp",
        stream="public.employee",
        source_key=origin.source_key,
        mapping="worker",
        mapping_version=7,
        output=f"{text}2",
        position=origin.position,
        raw=RawRef("raw.erp.public.employee", 3, origin.offset),
        observed_at=origin.observed_at,
        effective_at=None if retracted else effective_at,
        contract=2,
        fields={} if retracted else fields,
        retracted=retracted,
    ).sealed()
    writer = ContributionWriter("erp", "public.employee", ("raw.erp.public.employee", 3), "worker", 7, 2)
    claimed = (None, None) if retracted else (canonical_bytes(fields), effective_at)
    assert writer.write(origin, text, f"{text}2", *claimed) == (reference.key, reference.to_json())


@given(
    DECIMALS | st.integers(-9, 9) | st.sampled_from(["1.50", "x", 1.5, True, None]),
    TEXTS | st.sampled_from(["EUR", Text("EUR"), None, 7]),
)
def test_money_is_created_as_pydantic_creates_it(amount: Any, currency: Any) -> None:
    def created(create: Callable[[], Money]) -> Any:
        try:
            money = create()
        except ValidationError as error:
            return error.errors(include_url=False)
        kept = (money.__dict__, sorted(money.model_fields_set), money.__pydantic_extra__, money.__pydantic_private__)
        return [*map(str, kept), type(money.currency), type(money.amount), hash(money), money == copy.copy(money)]

    by_pydantic = created(lambda: Money.model_validate({"amount": amount, "currency": currency}))
    assert str(created(lambda: Money(amount, currency))) == str(by_pydantic)
