"""The straight step writes exactly what `record_step` writes, or leaves the record to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sluice.entities import UNCLAIMED, Entity, Identity, Mapping, Money, Output, mapping, most_recent
from sluice.headers import (
    OP_HEADER,
    ORIGIN_HEADER,
    ROW_GONE_HEADER,
    TRACE_HEADER,
    TRUNCATED_HEADER,
    UNCHANGED_HEADER,
    UNKNOWN_HEADER,
)
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.pipeline import SourceStream
from sluice.position import LOWEST, Position
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import KeyState
from sluice_mapper.record_step import ContributionTopics, ContributionWriters, record_step
from sluice_mapper.straight_step import StraightStep

TOPIC = "raw.erp.public.employee"


class Person(Entity):
    number: Annotated[str, Identity()]
    name: str | None
    pay: Money = UNCLAIMED
    hired_on: date | None = UNCLAIMED
    grade: Annotated[str | None, most_recent()] = UNCLAIMED


class Place(Entity):
    code: Annotated[str, Identity()]


class Row(BaseModel):
    id: str
    does: str = "maps"
    name: str | None = None
    pay: Decimal | None = None
    hired_on: date | None = None
    changed_at: int | datetime | None = None

    def at(self) -> int | datetime | None:
        return self.changed_at


def _mapped(raw: Row) -> Any:
    person = Person(number=raw.id, name=raw.name, hired_on=raw.hired_on)
    match raw.does:
        case "claims money":
            return person.model_copy(update={"pay": Money(raw.pay or 0, raw.name or "EUR")})
        case "claims grade":
            return Person(number=raw.id, name=raw.name, grade="A")
        case "misspells":
            return person.model_copy(update={"nmae": raw.name})
        case "filters":
            return None
        case "raises":
            raise ValueError(raw.id)
        case "exits":
            raise SystemExit(raw.id)
        case "returns a place":
            return Place(code=raw.id)
        case "returns two":
            return [Output("a", person), Output("b", person)]
        case "returns a text":
            return raw.id
    return person


DOES = ["maps", "claims money", "claims grade", "misspells", "filters", "raises", "exits"]
DOES += ["returns a place", "returns two", "returns a text"]


@mapping(source="erp.public.employee", version=3)
def undated(raw: Row) -> Person | Iterable[Output[Person]] | None:
    return _mapped(raw)  # type: ignore[no-any-return]


@mapping(source="erp.public.employee", version=3, effective_at=Row.at, name="undated", output="job")
def dated(raw: Row) -> Person | Iterable[Output[Person]] | None:
    return _mapped(raw)  # type: ignore[no-any-return]


POSITIONS = st.builds(Position, st.just(1), st.integers(1, 3), st.integers(0, 2))
TEXTS = st.text(max_size=8) | st.sampled_from(["", "W-1", " W-1 ", "Zoë", "a\0b", '\\u0041"', "2026-01-02", "EUR"])
ROWS = st.fixed_dictionaries(
    {"id": st.sampled_from(["W-1", "W-2"]) | TEXTS | st.integers(-9, 9)},
    optional={
        "does": st.sampled_from(DOES),
        "name": TEXTS | st.none(),
        "pay": st.sampled_from(["12.5", "-0", "1e40", "NaN", 7, None]),
        "hired_on": st.sampled_from(["2026-01-02", "0001-01-01", "soon", None]),
        "changed_at": st.sampled_from([0, 2**62, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05", None, True]),
        "not_mapped": TEXTS | st.lists(TEXTS, max_size=2) | st.dictionaries(TEXTS, st.integers(-9, 9), max_size=2),
    },
)
TARGETS = st.lists(
    st.tuples(st.just("person"), st.sampled_from(["W-1", "W-2"]), st.sampled_from(["main", "job"])), max_size=2
).map(tuple)
NAMES = st.sampled_from(["undated", "removed"])
STATES = st.just(KeyState()) | st.builds(
    KeyState,
    st.just(LOWEST) | POSITIONS,
    st.none() | POSITIONS,
    st.dictionaries(NAMES, st.tuples(POSITIONS, st.integers(2, 4)), max_size=2),
    st.dictionaries(NAMES, TARGETS, max_size=2),
    st.none() | st.dictionaries(TEXTS, st.tuples(TEXTS, POSITIONS), max_size=2),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        ORIGIN_HEADER: st.just(b"1700000000000"),
        TRACE_HEADER: st.just(b"00-ab-cd-01"),
        OP_HEADER: st.sampled_from([b"u", b"d"]),
    },
)
RARE_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        UNCHANGED_HEADER: st.sampled_from([b'["name"]', b'["not_mapped"]', b"[]", b"{"]),
        UNKNOWN_HEADER: st.just(b'["name"]'),
        TRUNCATED_HEADER: st.just(b"9"),
        ROW_GONE_HEADER: st.just(b"1"),
    },
)
RARE_VALUES = st.sampled_from([None, b"", b"{", b"[]", b"null", b'{"op":"c","source":{"ts_ms":1},"after":null}'])


@st.composite
def values(draw: st.DrawFn, kind: str) -> bytes | None:
    if draw(st.integers(0, 9)) == 0:
        return draw(RARE_VALUES)
    row = draw(ROWS)
    if kind == "poll":
        return orjson.dumps(row)
    source = draw(st.sampled_from([{"ts_ms": 1}, {"ts_us": 1_700_000_000_000_000, "ts_ms": 1}, {"ts_us": 2**62}, {}]))
    event = {"before": None, "after": row, "source": source, "op": draw(st.sampled_from(["c", "u", "r", "d", "x"]))}
    value = orjson.dumps({"schema": None, "payload": event} if draw(st.integers(0, 9)) == 0 else event)
    return value.replace(b"W-1", rb"\u0057-1") if draw(st.integers(0, 9)) == 0 else value


def partition(declared: Mapping, kind: Any) -> tuple[RawInput, ContributionWriters]:
    stream = SourceStream("erp", "public.employee", kind)
    writers = ContributionWriters(stream, (TOPIC, 0), ContributionTopics(Names(), 7))
    return RawInput(stream, (declared,), "raw-id", "state", "state-id"), writers


def steps(declared: Mapping, kind: str, record: Record, position: Position, before: KeyState) -> tuple[Any, Any]:
    """What the straight step writes, and what `record_step` writes if it emits one claim and keeps nothing back."""
    raw_input, writers = partition(declared, kind)
    straight = StraightStep(raw_input, writers)(record, '{"id":1}', position, before)
    plain = record_step(before, record, '{"id":1}', position, raw_input, writers)
    return straight, (plain.state.to_json(), *plain.outputs, plain.outcome, *plain.dead)


@given(
    st.data(),
    st.sampled_from([undated, dated]),
    st.sampled_from(["cdc", "poll"]),
    STATES,
    POSITIONS,
    HEADERS,
    RARE_HEADERS | st.just({}),
)
def test_the_straight_step_writes_what_the_plain_one_writes_or_leaves_the_record_to_it(
    data: st.DataObject,
    declared: Mapping,
    kind: str,
    before: KeyState,
    position: Position,
    headers: dict[str, bytes],
    rare: dict[str, bytes],
) -> None:
    record = Record(TOPIC, 0, 17, b'{"id":1}', data.draw(values(kind)), {**headers, **rare}, 1_000)
    straight, plain = steps(declared, kind, record, position, before)
    assert straight is None or (*straight, "mapped") == plain


@pytest.mark.parametrize("kind", ["cdc", "poll"])
@pytest.mark.parametrize("declared", [undated, dated])
def test_a_plain_claim_is_decided_by_the_straight_step(kind: str, declared: Mapping) -> None:
    row = {"id": "W-1", "name": "Zoë", "hired_on": "2026-01-02", "changed_at": "2026-01-02T03:04:05Z"}
    event = {"before": None, "after": row, "source": {"ts_ms": 1}, "op": "u"}
    value = orjson.dumps(row if kind == "poll" else event)
    record = Record(TOPIC, 0, 17, b'{"id":1}', value, {ORIGIN_HEADER: b"1"}, 1_000)
    first, plain = steps(declared, kind, record, Position(1, 1, 1), KeyState())
    assert first is not None
    assert (*first, "mapped") == plain
    again, plain = steps(declared, kind, record, Position(1, 1, 2), KeyState.from_json(first[0]))
    assert again is not None
    assert (*again, "mapped") == plain
    if declared is dated:
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert b'"effective_at":%d,' % (moment.timestamp() * 1e6) in again[1].value


@pytest.mark.parametrize("header", [UNCHANGED_HEADER, UNKNOWN_HEADER])
def test_a_record_that_leaves_out_a_column_is_left_to_the_plain_step(header: str) -> None:
    event = {"before": None, "after": {"id": "W-1"}, "source": {"ts_ms": 1}, "op": "u"}
    record = Record(TOPIC, 0, 17, b'{"id":1}', orjson.dumps(event), {header: b'["not_mapped"]'}, 1_000)
    before = KeyState(carried={"not_mapped": ("a text", LOWEST)})
    straight, plain = steps(undated, "cdc", record, Position(1, 1, 1), before)
    assert straight is None
    assert b'"a text"' in plain[0] or header is UNKNOWN_HEADER


@pytest.mark.parametrize("header", [b"", b"x" * 300_000])
def test_a_claim_that_is_too_large_is_left_to_the_plain_step(header: bytes) -> None:
    record = Record(
        TOPIC, 0, 17, b'{"id":1}', orjson.dumps({"id": "W-1", "name": "n" * 8_100_000}), {TRACE_HEADER: header}, 1_000
    )
    straight, plain = steps(undated, "poll", record, Position(1, 1, 1), KeyState())
    assert (straight is None) is bool(header)
    assert (plain[1] == "dead") is bool(header)
