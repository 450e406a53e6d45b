"""Mappings: what an author declares, the claims of a raw record, and that a bad record is never quoted."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
from pydantic import BaseModel, field_validator

from sluice.entities import UNCLAIMED, Entity, Identity, Mapping, Output, mapping, most_recent
from sluice.errors import DeadRecord, SettingsError
from support import workers
from support.workers import Worker

RAW: dict[str, Any] = {
    "id": " W-7 ",
    "first": "Zoë",
    "last": "Secretson",
    "pay": {"amount": "12.3", "currency": "EUR"},
    "updated_at": "2024-01-01T00:00:00Z",
}


def _dead(declared: Mapping, raw: dict[str, Any]) -> DeadRecord:
    with pytest.raises(DeadRecord) as dead:
        declared.apply(raw)
    assert "Secretson" not in str(dead.value)
    return dead.value


def _without_place(dead: DeadRecord) -> str:
    """The reason without the mapping's name and place at its end."""
    reason, place = dead.reason.split(" (mapping ")
    assert re.fullmatch(r"worker, support/workers\.py:\d+\)", place)
    return reason


def test_a_raw_record_becomes_a_claim_in_the_contracts_json() -> None:
    (claim,) = workers.worker.apply(RAW)
    assert claim.entity == "worker"
    assert claim.entity_id == "W-7"
    assert claim.output == "main"
    assert claim.effective_at == 1704067200000000
    assert claim.fields == {
        "employee_number": "W-7",
        "full_name": "Zoë Secretson",
        "base_pay": {"amount": "12.3000", "currency": "EUR"},
        "status": "active",
    }


def test_only_fields_that_were_given_are_claimed_and_none_is_a_claim() -> None:
    (claim,) = workers.worker.apply({**RAW, "pay": None})
    assert claim.fields["base_pay"] is None
    assert "height" not in claim.fields


class Dated(BaseModel):
    id: str
    since: Any = None

    def changed_at(self) -> Any:
        return self.since


class Stock(Entity):
    number: Annotated[str, Identity()]


@mapping(source="erp.stock", version=1, effective_at=Dated.changed_at)
def stock(raw: Dated) -> Stock:
    return Stock(number=raw.id)


@pytest.mark.parametrize(
    "since",
    [
        -(10**17),
        2**63,
        10**30,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=14))),
    ],
    ids=str,
)
def test_an_effective_time_outside_of_the_years_1_to_9999_is_refused(since: Any) -> None:
    dead = _dead(stock, {"id": "H1", "since": since})
    assert (dead.code, str(since) in dead.reason) == ("time-out-of-range", False)


@mapping(source="erp.stock", version=1)
def leaving(raw: Dated) -> Stock:
    raise SystemExit(0)


def test_a_mapping_that_asks_the_process_to_end_has_failed() -> None:
    dead = _dead(leaving, {"id": "H1"})
    assert dead.code == "mapping-failed"
    assert "SystemExit in mapping leaving" in dead.reason


class Node(BaseModel):
    inner: "Node | None" = None


@mapping(source="erp.stock", version=1)
def nested(raw: Node) -> Stock:
    return Stock(number="H1")


def test_the_path_to_a_member_of_a_wrong_type_is_shortened() -> None:
    record: Any = 7
    for _ in range(30):
        record = {"inner": record}
    assert f"erp.stock: {'inner.' * 20}…: model_type" in _dead(nested, record).reason


@mapping(source="erp.stock", version=1)
def generated(raw: Dated) -> list[Output[Stock]]:
    def outputs() -> Iterator[Output[Stock]]:
        yield Output("main", Stock(number=raw.id))
        raise ValueError(raw.id)

    return raw.since or cast(list[Output[Stock]], outputs())


@pytest.mark.parametrize("since", [None, 17])
def test_a_generator_that_raises_and_a_result_that_is_no_output_park_the_record(since: object) -> None:
    assert _dead(generated, {"id": "Secretson", "since": since}).code == "mapping-failed"


class Nowhere(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        raise ValueError("Secretson")

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> None:
        return None


def test_an_effective_time_whose_zone_raises_parks_the_record() -> None:
    dead = _dead(stock, {"id": "H1", "since": datetime(2024, 1, 1, tzinfo=Nowhere())})
    assert (dead.code, "ValueError" in dead.reason) == ("mapping-failed", True)


class Posted(Entity):
    number: Annotated[str, Identity()]
    label: str | None


class Unreadable(str):
    def isascii(self) -> bool:
        raise ValueError(self)


@mapping(source="erp.posted", version=1)
def posted(raw: Dated) -> Posted:
    results: dict[str, Callable[[], object]] = {
        "no identity": lambda: Posted.model_construct(label=raw.id),
        "no value": lambda: Posted.model_construct(_fields_set={"label", "number"}, number=raw.id),
        "raises": lambda: Posted.model_construct(label=Unreadable(raw.id), number=raw.id),
        "nothing iterable": lambda: False,
        "texts": lambda: raw.id,
    }
    return cast(Posted, results[raw.since]())


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("no identity", "posted.number has no value"),
        ("no value", "posted.label has no value"),
        ("raises", "ValueError in posted.label"),
        ("nothing iterable", "bool is neither posted nor a list of Output"),
        ("texts", "an item of the returned list is not an Output"),
    ],
)
def test_an_entity_that_was_created_without_its_checks_parks_the_record(way: str, reason: str) -> None:
    dead = _dead(posted, {"id": "Secretson", "since": way})
    assert dead.code == "mapping-failed"
    assert reason in dead.reason
    assert re.search(r"mapping posted, [\w/]*test_mapping\.py:\d+", dead.reason)


@mapping(source="erp.posted", version=1)
def misnamed(raw: Dated) -> Posted:
    correct = Posted(number=raw.id, label=None)
    results: dict[str, Callable[[], Posted]] = {
        "copy": lambda: correct.model_copy(update={"labl": raw.id}),
        "construct": lambda: Posted.model_construct(number=raw.id, label=None, labl=raw.id),
        "fields set": lambda: Posted.model_construct(_fields_set={"number", "labl"}, number=raw.id),
        "record": lambda: correct.model_copy(update={raw.id: None}),
        "known": lambda: correct.model_copy(update={"label": "known"}),
        "partial": lambda: Posted.model_construct(_fields_set=given_names, number="P-1", label="default", labl=raw.id),
    }
    return results[raw.since]()


given_names = {"number"}


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("copy", "posted: labl: no such field; is label meant?"),
        ("construct", "posted: labl: no such field; is label meant?"),
        ("fields set", "posted: labl: no such field; is label meant?"),
        ("record", "posted: *: no such field"),
        ("partial", "posted: labl: no such field; is label meant?"),
    ],
)
def test_an_unknown_field_of_an_entity_that_was_created_without_its_checks_parks_the_record(
    way: str, reason: str
) -> None:
    dead = _dead(misnamed, {"id": "Secretson", "since": way})
    assert (dead.code, dead.reason.split(" (mapping ")[0]) == ("mapping-failed", reason)
    if way != "record":
        line = Path(__file__).read_text().splitlines()[int(dead.reason[:-1].rpartition(":")[2]) - 1]
        assert "labl" in line
    assert given_names == {"number"}


def test_a_known_field_of_a_copied_entity_is_claimed() -> None:
    (claim,) = misnamed.apply({"id": "P-1", "since": "known"})
    assert claim.fields == {"number": "P-1", "label": "known"}


class Coded(Entity):
    number: Annotated[str, Identity(lambda given: {"nul": "\0"}[given])]


@mapping(source="erp.stock", version=1)
def coded(raw: Dated) -> Coded:
    return Coded(number=raw.id)


def test_an_identity_that_cannot_be_normalised_parks_the_record() -> None:
    dead = _dead(coded, {"id": "Secretson"})
    assert (dead.code, "KeyError" in dead.reason) == ("mapping-failed", True)
    assert _dead(coded, {"id": "nul"}).code == "nul-character"


def test_an_effective_time_at_the_ends_of_the_calendar_is_claimed() -> None:
    assert stock.apply({"id": "H1", "since": -62_135_596_800_000_000})[0].effective_at == -62_135_596_800_000_000
    assert stock.apply({"id": "H1", "since": 253_402_300_799_999_999})[0].effective_at == 253_402_300_799_999_999


class Picky(BaseModel):
    id: str

    @field_validator("id")
    @classmethod
    def looked_up(cls, given: str) -> str:
        return {"known": "H1"}[given]


@mapping(source="erp.stock", version=1)
def picked(raw: Picky) -> list[Output[Stock]]:
    return [Output(raw.id, Stock(number="H1"))]


def test_a_model_of_the_authors_that_raises_parks_the_record() -> None:
    dead = _dead(picked, {"id": "Secretson"})
    assert (dead.code, dead.reason.partition(",")[0]) == ("mapping-failed", "KeyError in mapping picked")


@mapping(source="erp.stock", version=1)
def misspelt(raw: Dated) -> Stock:
    return Stock(number=raw.numbr)  # type: ignore[attr-defined]


@mapping(source="erp.stock", version=1)
def chosen(raw: Dated) -> Stock:
    return Stock(number=getattr(raw, raw.id))


def test_a_missing_name_is_shown_only_if_the_code_contains_it() -> None:
    assert _dead(misspelt, {"id": "H1"}).reason.startswith("AttributeError (numbr) in mapping misspelt,")
    assert _dead(chosen, {"id": "Secretson"}).reason.startswith("AttributeError in mapping chosen,")


@mapping(source="erp.stock", version=1)
def split(raw: Dated) -> list[Output[Stock]]:
    return [Output(raw.since, Stock(number="H1"))]


@pytest.mark.parametrize("key", ["\ud83d", "a\0b", 17])
def test_an_output_key_that_no_topic_can_store_is_refused(key: Any) -> None:
    assert _dead(split, {"id": "H1", "since": key}).code in ("invalid-unicode", "nul-character", "wrong-type")


def test_a_filtered_record_makes_no_claim() -> None:
    assert workers.worker.apply({**RAW, "last": "Test"}) == []


def test_one_record_can_have_many_outputs_each_under_its_own_key() -> None:
    claims = workers.invoice_lines.apply(
        {"id": 1, "lines": [{"line": "a", "amount": 1.5}, {"line": "b", "amount": "2"}]}
    )
    assert [(claim.output, claim.entity_id) for claim in claims] == [("a", "1-A"), ("b", "1-B")]
    assert claims[0].effective_at is None


def test_two_outputs_under_one_key_are_a_dead_record() -> None:
    twice = {"id": 1, "lines": [{"line": "a", "amount": 1}, {"line": "a", "amount": 2}]}
    assert _dead(workers.invoice_lines, twice).code == "duplicate-output"


def test_a_missing_member_is_named() -> None:
    dead = _dead(workers.worker, {k: v for k, v in RAW.items() if k != "updated_at"})
    assert (dead.code, _without_place(dead)) == ("missing-member", "workday.workers: updated_at: missing")


def test_a_wrong_type_is_reported_by_place_and_kind_never_by_content() -> None:
    dead = _dead(workers.worker, {**RAW, "pay": {"amount": "Secretson", "currency": 7}})
    assert dead.code == "wrong-type"
    assert _without_place(dead) == "workday.workers: pay.amount: decimal_parsing; pay.currency: string_type"


def test_keys_of_the_record_are_content_too() -> None:
    dead = _dead(workers.worker, {**RAW, "attributes": {"Secretson": "x"}})
    assert _without_place(dead) == "workday.workers: attributes.*: int_parsing"


def test_an_exception_of_the_function_is_reported_by_class_mapping_file_and_line() -> None:
    dead = _dead(workers.ratio, {"line": "Secretson", "amount": 0})
    assert dead.code == "mapping-failed"
    assert dead.reason.startswith("DivisionByZero in mapping ratio, support/workers.py:")
    line = int(dead.reason.rsplit(":", 1)[1])
    assert "Decimal(1) / raw.amount" in _line(line)


def _line(number: int) -> str:
    with open(workers.__file__) as file:
        return file.read().splitlines()[number - 1]


class Raw(BaseModel):
    id: str
    at: datetime | None = None
    name: Any = None

    def since(self) -> datetime | None:
        return self.at


@mapping("hr.people", 1)
def builds_badly(raw: Raw) -> Worker:
    return Worker(employee_number=raw.id, full_name=raw.name)


@mapping("hr.people", 1)
def uses_unclaimed(raw: Raw) -> Worker:
    unknown = UNCLAIMED
    results: dict[str, Callable[[], object]] = {
        "format": lambda: f"Secretson {unknown}",
        "percent": lambda: "Secretson %s" % unknown,  # noqa: UP031
        "str": lambda: str(unknown),
        "if": lambda: 1 if unknown else 2,
        "or": lambda: unknown or raw.name,
        "add": lambda: "Secretson" + unknown,
        "subtract": lambda: Decimal(1) - unknown,
        "multiply": lambda: unknown * 2,
        "order": lambda: datetime.now(UTC) < unknown,
    }
    return Worker(employee_number=raw.id, full_name=cast(str, results[raw.name]()))


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("format", "UNCLAIMED is not a text"),
        ("percent", "UNCLAIMED is not a text"),
        ("str", "UNCLAIMED is not a text"),
        ("if", "UNCLAIMED is neither true nor false"),
        ("or", "UNCLAIMED is neither true nor false"),
        ("add", "UNCLAIMED is not a value that can be ordered or computed with"),
        ("subtract", "UNCLAIMED is not a value that can be ordered or computed with"),
        ("multiply", "UNCLAIMED is not a value that can be ordered or computed with"),
        ("order", "UNCLAIMED is not a value that can be ordered or computed with"),
    ],
)
def test_unclaimed_used_as_a_value_parks_the_record_and_names_the_line(way: str, reason: str) -> None:
    dead = _dead(uses_unclaimed, {"id": "W", "name": way})
    assert dead.code == "mapping-failed"
    found = re.fullmatch(
        rf"{reason}, because .*; write `if x is UNCLAIMED` .* \(mapping uses_unclaimed, \S+test_mapping\.py:(\d+)\)",
        dead.reason,
    )
    assert found
    assert f'"{way}": lambda' in Path(__file__).read_text().splitlines()[int(found[1]) - 1]


@mapping("hr.people", 1)
def returns_unclaimed(raw: Raw) -> Worker:
    result: Worker = UNCLAIMED
    return result


def test_unclaimed_as_a_result_is_named_in_the_reason() -> None:
    assert _dead(returns_unclaimed, {"id": "W"}).reason.startswith("Unclaimed is neither worker nor a list of Output")


def test_an_entity_that_does_not_validate_is_reported_by_field_and_kind() -> None:
    dead = _dead(builds_badly, {"id": "W", "name": ["Secretson"]})
    assert dead.code == "mapping-failed"
    assert dead.reason.endswith(": worker: full_name: string_type")


@mapping("hr.people", 1)
def misspells(raw: Raw) -> Worker:
    known = {
        "employee_number": raw.id,
        "full_nam": raw.name,
    }
    return Worker(**known)


def test_a_field_that_the_entity_lacks_is_named_with_the_line_that_spells_it() -> None:
    dead = _dead(misspells, {"id": "W", "name": "Secretson"})
    found = re.search(
        r"in mapping misspells, (\S+):\d+: worker: full_nam: no such field \(spelled in \1:(\d+)\)", str(dead)
    )
    assert found
    assert found[1].endswith("entities/test_mapping.py")
    assert '"full_nam": raw.name' in Path(__file__).read_text().splitlines()[int(found[2]) - 1]


@mapping("hr.people", 1)
def speaks_of_the_record(raw: Raw) -> Worker:
    of_the_record: dict[str, Any] = {raw.name: 1}
    return Worker(employee_number=raw.id, **of_the_record)


def test_a_field_that_only_the_record_spells_is_not_reported() -> None:
    dead = _dead(speaks_of_the_record, {"id": "W", "name": "Secretson"})
    assert "worker: *: no such field" in dead.reason


@mapping("hr.people", 1)
def too_precise(raw: Raw) -> Worker:
    known: dict[str, Any] = {"height": Decimal("1e9")}
    return Worker(employee_number=raw.id, **known)


def test_a_value_that_the_contract_refuses_is_reported_by_field_mapping_file_and_line() -> None:
    dead = _dead(too_precise, {"id": "W"})
    assert dead.code == "number-out-of-range"
    found = re.fullmatch(
        r"worker\.height does not fit .* \(mapping too_precise, \S+test_mapping\.py:(\d+)\)", dead.reason
    )
    assert found
    assert '"height": Decimal' in Path(__file__).read_text().splitlines()[int(found[1]) - 1]


def test_a_naive_effective_time_is_a_dead_record_that_names_function_mapping_file_and_line() -> None:
    dead = _dead(workers.worker, {**RAW, "updated_at": "2024-01-01T00:00:00"})
    assert dead.code == "time-without-zone"
    assert dead.reason.startswith("effective_at=WorkdayWorker.changed_at has no time zone")
    assert re.search(r"\(mapping worker, support/workers\.py:\d+\)$", dead.reason)


def test_an_effective_time_can_be_any_callable() -> None:
    def shifted(days: int, raw: Raw) -> datetime | None:
        return raw.at + timedelta(days=days) if raw.at else None

    @mapping("hr.people", 1, effective_at=partial(shifted, 1))
    def person(raw: Raw) -> Worker:
        return Worker(employee_number=raw.id, status="left")

    assert person.apply({"id": "W", "at": "1970-01-01T00:00:00Z"})[0].effective_at == 86_400_000_000
    assert _dead(person, {"id": "W", "at": "1970-01-01T00:00:00"}).reason.startswith("effective_at=partial has no")


def test_the_effective_time_is_a_method_of_the_raw_model() -> None:
    @mapping("hr.people", 1, effective_at=Raw.since)
    def person(raw: Raw) -> Worker:
        return Worker(employee_number=raw.id, status="left")

    (claim,) = person.apply({"id": "W", "at": "1970-01-01T00:00:01Z"})
    assert claim.effective_at == 1_000_000


def test_a_most_recent_field_without_an_effective_time_is_refused_when_loading() -> None:
    @mapping("hr.people", 1)
    def person(raw: Raw) -> Worker:
        return Worker(employee_number=raw.id, status="left")

    with pytest.raises(SettingsError, match=r"test_mapping\.py:\d+: claims worker\.status, whose rule is most_recent"):
        person.check_claims()


def test_a_most_recent_field_that_another_mapping_of_the_file_claims_needs_no_effective_time() -> None:
    builds_badly.check_claims()


def test_a_most_recent_field_claimed_by_a_helper_is_a_dead_record() -> None:
    class Thing(Entity):
        id: Annotated[str, Identity()]
        state: Annotated[str, most_recent()]

    def helper(fields: dict[str, Any]) -> Thing:
        return Thing(**fields)

    def thing(raw: Raw) -> "Any":
        return helper({"id": raw.id, "state": "on"})

    thing.__annotations__["return"] = Thing
    dead = _dead(mapping("hr.people", 1)(thing), {"id": "1"})
    assert dead.code == "no-effective-time"


def plain(raw: Raw) -> Worker:
    return Worker(employee_number=raw.id)


async def waiting(raw: Raw) -> Any:
    return raw.at


class Waiting:
    async def __call__(self, raw: Raw) -> Any:
        return raw.at


class Computed(Raw):
    @property
    def dated(self) -> datetime | None:
        return self.at

    @cached_property
    def cached(self) -> datetime | None:
        return self.at


VERSIONS = "a version is a whole number from 1 to 2147483647. Next: write such a number"
NAMES = "a name is spelled [a-z][a-z0-9_]* and cannot change later. Next: give one with "


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"source": "hr"}, "<source>.<stream>"),
        ({"source": 5}, "<source>.<stream>"),
        *(({"version": version}, VERSIONS) for version in (0, -1, 1.5, 10**30, 2**31, True, "1", None)),
        *(({"name": name}, f"{NAMES}name=") for name in ("", " ", "a b\n\0ü", "a\n", "ü", "A", "_a", 5)),
        ({"name": "a" * 64}, "a name has at most 63 characters. Next: give one with name="),
        *(({"output": output}, f"{NAMES}output=") for output in ("", "a b", "main\n", 5, None)),
        ({"effective_at": "at"}, "effective_at is str, and must be a function. Next: give a method of Raw, or"),
        ({"effective_at": Computed.dated}, "effective_at is the property dated, and must be a function. Next: remove"),
        ({"effective_at": Computed.cached}, "Next: remove @cached_property above cached in Raw"),
        ({"effective_at": waiting}, "effective_at is no async function. Next: write def instead of async def"),
        ({"effective_at": partial(waiting)}, "effective_at is no async function"),
        ({"effective_at": Waiting()}, "effective_at is no async function"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(arguments: Any, reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        cast(Any, mapping)(**({"source": "hr.people", "version": 1} | arguments))(plain)
    assert reason in str(refused.value)
    assert str(refused.value).startswith(f"{__name__}.plain: ")
    assert str(refused.value).isprintable()


def test_a_declaration_at_the_ends_of_what_is_allowed_is_accepted() -> None:
    declared = mapping("hr.people", 2**31 - 1, name="a" * 63, output="b1_")(plain)
    assert (declared.version, declared.name, declared.output) == (2**31 - 1, "a" * 63, "b1_")


def test_a_function_s_name_that_is_no_mapping_s_name_is_replaced_by_name() -> None:
    def _Person(raw: Raw) -> Worker:  # noqa: N802
        return Worker(employee_number=raw.id)

    with pytest.raises(SettingsError, match=r"name='_Person': .* Next: give one with name="):
        mapping("hr.people", 1)(_Person)
    assert mapping("hr.people", 1, name="person")(_Person).name == "person"


async def generating(raw: Raw) -> Any:
    yield Output("main", Worker(employee_number=raw.id))


@pytest.mark.parametrize("function", [waiting, generating])
def test_an_async_mapping_is_refused(function: Any) -> None:
    with pytest.raises(SettingsError, match=r"a mapping is no async function\. Next: write def instead of async def"):
        mapping("hr.people", 1)(function)


@pytest.mark.parametrize("function", [mapping("hr.people", 1)(plain), partial(plain)])
def test_a_mapping_of_something_else_than_a_function_is_refused(function: Any) -> None:
    with pytest.raises(SettingsError, match=r"@mapping declares one function, and this is a .* Next: write a f"):
        mapping("hr.people", 1)(function)


def test_a_function_without_types_is_refused() -> None:
    with pytest.raises(SettingsError, match="annotated with the raw record's model"):
        mapping("hr.people", 1)(lambda raw: raw)


def test_the_first_dot_separates_source_and_stream() -> None:
    assert (workers.invoice_lines.source, workers.invoice_lines.stream) == ("erp", "public.invoice")


def test_a_mapping_stays_callable() -> None:
    raw = workers.ErpInvoice(id=1, lines=[workers.ErpLine(line="a", amount=Decimal(1))])
    assert workers.invoice_lines(raw)[0] == Output("a", workers.invoice_lines(raw)[0].entity)
