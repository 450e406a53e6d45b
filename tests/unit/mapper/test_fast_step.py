"""The fast path writes exactly what the reference implementation writes, or leaves the record to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sluice.entities import UNCLAIMED, Entity, Identity, Mapping, Money, Output, mapping, most_recent
from sluice.headers import (
    CE_TIME_HEADER,
    OP_HEADER,
    ORIGIN_HEADER,
    ROW_GONE_HEADER,
    TRACE_HEADER,
    TRUNCATED_HEADER,
    UNCHANGED_HEADER,
    UNKNOWN_HEADER,
)
from sluice.json_schema import JsonSchema
from sluice.position import LOWEST, Position
from sluice.stage.process import Owned
from sluice_mapper.key_state import KeyState
from sluice_mapper.schema_sample import SchemaSample
from support.mapping_bench import STREAM, MapperBench, RestoredMapper


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


POSITIONS = st.builds(Position, st.just(1), st.integers(1, 2), st.integers(0, 2))
TEXTS = st.text(max_size=8) | st.sampled_from(["", " W-1 ", "Zoë", "a\0b", "four", "fiver", "2026-01-02", "EUR"])
ROWS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.sampled_from(["W-1", "W-2"])},
    optional={"name": TEXTS, "changed_at": st.just("2026-01-02T03:04:05Z"), "not_mapped": TEXTS | st.just([{"a": 1}])},
)
ODD_MEMBERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXTS | st.integers(-9, 9),
        "does": st.sampled_from(DOES),
        "name": st.none() | st.integers(-9, 9),
        "pay": st.sampled_from(["12.5", "-0", "1e40", "NaN", 7, None]),
        "hired_on": st.sampled_from(["2026-01-02", "0001-01-01", "soon", None]),
        "changed_at": st.sampled_from([0, 2**62, "2026-01-02T03:04:05", None, True]),
    },
)
TARGETS = st.lists(
    st.tuples(st.just("person"), st.sampled_from(["W-1", "W-2"]), st.sampled_from(["main", "job"])), max_size=2
).map(tuple)
STATES = st.builds(
    KeyState,
    st.just(LOWEST) | POSITIONS,
    st.none() | POSITIONS,
    st.dictionaries(st.sampled_from(["undated", "removed"]), st.tuples(POSITIONS, st.integers(2, 4)), max_size=2),
    st.dictionaries(st.sampled_from(["undated", "removed"]), TARGETS, max_size=2),
    st.none() | st.dictionaries(TEXTS, st.tuples(TEXTS, POSITIONS), max_size=2),
)
HEADERS = st.fixed_dictionaries({}, optional={ORIGIN_HEADER: st.just(b"17"), TRACE_HEADER: st.just(b"00-ab-cd-01")})
ODD_HEADERS = st.sampled_from(
    [
        *({OP_HEADER: op} for op in (b"u", b"d")),
        *({UNCHANGED_HEADER: names} for names in (b'["name"]', b'["not_mapped"]', b"[]", b"{")),
        {UNKNOWN_HEADER: b'["name"]'},
        {TRUNCATED_HEADER: b"9"},
        {ROW_GONE_HEADER: b"1"},
        {CE_TIME_HEADER: b"2026-01-02T03:04:05Z"},
        {CE_TIME_HEADER: b"soon"},
    ]
)
ODD_VALUES = [None, b"", b"{", b"[]", b"null", b'{"op":"c","source":{"ts_us":1},"after":null}']
SOURCES: list[Any] = [{"ts_ms": 1}, {"ts_us": 2**62}, {"ts_us": "1"}, {"ts_us": None, "ts_ms": 1}, {}, []]
KEY = b'{"id":1}'
ODD_KEYS = [b'{"schema":null,"payload":{"id":1}}', b'{"$id":1}', b"{}", b"[1]", b'{"id"', b'{"id":"\xff"}', None]
ODD_POSITIONS = ["1:2", "01:2:1", "1:-2:1", "1: 2:1", "1,2:1:1", "1:2:", "9223372036854775808:1:1"]


class Read(NamedTuple):
    """A raw record, without its offset."""

    key: bytes | None
    value: bytes | None
    position: str
    headers: dict[str, bytes]


@st.composite
def reads(draw: st.DrawFn, kind: str) -> Read:
    """A common record, or one that is odd in one way."""
    odd = draw(st.sampled_from(["", "", "row", "value", "source", "op", "schema", "key", "position", "header"]))
    row = draw(ROWS) | (draw(ODD_MEMBERS) if odd == "row" else {})
    source = draw(st.sampled_from(SOURCES)) if odd == "source" else {"ts_us": 17, "ts_ms": 1}
    op: Any = draw(st.sampled_from(["d", "x", None, []])) if odd == "op" else draw(st.sampled_from("cur"))
    event: dict[str, Any] = {"before": None, "after": row, "source": source, "op": op}
    if odd == "schema":
        event = {"schema": None, "payload": event}
    return Read(
        draw(st.sampled_from(ODD_KEYS)) if odd == "key" else KEY,
        draw(st.sampled_from(ODD_VALUES)) if odd == "value" else orjson.dumps(row if kind == "poll" else event),
        draw(st.sampled_from(ODD_POSITIONS) if odd == "position" else POSITIONS.map(str)),
        draw(HEADERS) | (draw(ODD_HEADERS) if odd == "header" else {}),
    )


class ReferenceMapper(RestoredMapper):
    """A mapper without fast path."""

    def _parts_of(self, owned: Owned) -> Any:
        return super()._parts_of(owned)._replace(fast_step=None)


class Both:
    """A mapper with the fast path and one without it, which read the same records."""

    def __init__(self, declared: Mapping, kind: str, states: dict[bytes, KeyState], swept: Position = LOWEST) -> None:
        self.fast = MapperBench(declared, kind=kind)
        self.reference = MapperBench(declared, kind=kind, process=ReferenceMapper)
        for bench in (self.fast, self.reference):
            bench.state = {key: state.to_json() for key, state in states.items()}
            bench.record.sweeps = {} if swept == LOWEST else {STREAM: swept}
            bench.crash(0)

    def read(self, key: bytes | None, value: bytes | None, position: str, headers: dict[str, bytes]) -> list[Any]:
        """Both read one record. Returns the outcome and what was written, which must be the same for both."""
        fast, reference = [_read(bench, key, value, position, headers) for bench in (self.fast, self.reference)]
        assert fast == reference
        return reference


def _read(bench: MapperBench, *record: Any) -> list[Any]:
    bench.append(*record)
    bench.step()
    batch = bench.batch
    written = [one for one in batch.outputs if not one.topic.startswith("dlq.")]
    found = [dict(counts) for counts in batch.counts.values()], batch.dead_by_cause, written, batch.records_of
    bench.commit()
    return [*found, dict(bench.state)]


@settings(max_examples=500)
@given(st.data(), st.sampled_from([undated, dated]), st.sampled_from(["cdc", "poll"]), st.just(LOWEST) | POSITIONS)
def test_the_fast_path_writes_what_the_reference_implementation_writes(
    data: st.DataObject, declared: Mapping, kind: str, swept: Position
) -> None:
    states = data.draw(st.just({}) | st.fixed_dictionaries({KEY: STATES}))
    both = Both(declared, kind, states, swept)
    for _ in range(data.draw(st.integers(1, 3))):
        both.read(*data.draw(reads(kind)))


ROW = {"id": "W-1", "name": "Zoë", "hired_on": "2026-01-02", "changed_at": "2026-01-02T03:04:05Z"}


def value_of(row: dict[str, Any], kind: str = "cdc") -> bytes:
    source = {"ts_ms": 1, "ts_us": 1_000}
    return orjson.dumps(row if kind == "poll" else {"before": None, "after": row, "source": source, "op": "u"})


@pytest.mark.parametrize("kind", ["cdc", "poll"])
@pytest.mark.parametrize("declared", [undated, dated])
def test_the_fast_path_decides_about_one_claim_about_the_same_entity(kind: str, declared: Mapping) -> None:
    bench = MapperBench(declared, kind=kind)
    for position in ("1:1:1", "1:1:2"):
        bench.append(KEY, value_of(ROW, kind), position, {ORIGIN_HEADER: b"1"})
        assert bench.takes_fast_path()
        assert not bench.takes_fast_path()  # the state contains the position
    bench.commit()
    (claim,) = bench.newest().values()
    assert claim.effective_at == (1_767_323_045_000_000 if declared is dated else None)


@pytest.mark.parametrize("kind", ["cdc", "poll"])
@pytest.mark.parametrize("declared", [undated, dated])
@pytest.mark.parametrize("does", DOES)
def test_every_result_of_the_authors_function_has_the_same_effects(kind: str, declared: Mapping, does: str) -> None:
    both = Both(declared, kind, {})
    both.read(KEY, value_of({**ROW, "does": does}, kind), "1:1:1", {})
    both.read(KEY, value_of(ROW, kind), "1:1:2", {})


@pytest.mark.parametrize("source", SOURCES)
def test_every_time_of_a_change_has_the_same_effects(source: Any) -> None:
    event = {"before": None, "after": ROW, "source": source, "op": "u"}
    Both(undated, "cdc", {}).read(KEY, orjson.dumps(event), "1:1:1", {})


@pytest.mark.parametrize("text", [rb"\ud83d", rb"\u0041", rb"\n", b"four", b"fiver"])
def test_every_text_in_a_column_that_is_not_mapped_has_the_same_effects(text: bytes) -> None:
    value = value_of({**ROW, "not_mapped": "?"}).replace(b"?", text)
    Both(undated, "cdc", {}).read(KEY, value, "1:1:1", {})


@pytest.mark.parametrize("header", [UNCHANGED_HEADER, UNKNOWN_HEADER, ROW_GONE_HEADER, TRUNCATED_HEADER])
def test_a_record_that_leaves_out_a_column_is_left_to_the_reference_implementation(header: str) -> None:
    both = Both(undated, "cdc", {KEY: KeyState(carried={"not_mapped": ("a text", LOWEST)})})
    both.read(KEY, value_of({"id": "W-1"}), "1:1:1", {header: b'["not_mapped"]'})


@pytest.mark.parametrize("kind", ["cdc", "poll"])
def test_a_sweep_marker_is_left_to_the_reference_implementation(kind: str) -> None:
    bench = MapperBench(undated, kind=kind)
    bench.append(KEY, value_of(ROW, kind), "1:1:1", {OP_HEADER: b"s"})
    assert not bench.takes_fast_path()


def test_a_record_below_a_sweep_is_superseded() -> None:
    both = Both(undated, "cdc", {}, swept=Position(1, 2, 1))
    assert both.read(KEY, value_of(ROW), "1:2:0", {})[0] == [{"superseded": 1}]
    assert both.read(KEY, value_of(ROW), "1:2:1", {})[0] == [{"mapped": 1}]


@pytest.mark.parametrize("header", [b"", b"x" * 300_000])
def test_a_claim_that_is_too_large_is_left_to_the_reference_implementation(header: bytes) -> None:
    both = Both(undated, "poll", {})
    outcome = both.read(KEY, value_of({"id": "W-1", "name": "n" * 8_100_000}, "poll"), "1:1:1", {TRACE_HEADER: header})
    assert outcome[0] == [{"dead" if header else "mapped": 1}]


def test_a_record_that_is_compared_with_its_schema_is_left_to_the_reference_implementation(tmp_path: Path) -> None:
    schema = tmp_path / "row.schema.json"
    schema.write_text('{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}')
    sample = SchemaSample(JsonSchema(schema))
    bench = MapperBench(undated, kind="poll", sample=sample)
    bench.append(KEY, value_of(ROW, "poll"), "1:1:1")
    assert not bench.takes_fast_path()
    sample.check(bench.log[-1])
    bench.append(KEY, value_of(ROW, "poll"), "1:1:2")
    assert bench.takes_fast_path()
