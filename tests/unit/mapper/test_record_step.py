"""The step of one record as a pure function: what it applies of each mapping, and what it leaves."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import BaseModel

from sluice.entities import Entity, Identity, mapping
from sluice.entities.mapping import Mapping
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.pipeline import SourceStream
from sluice.position import Position
from sluice_mapper.inputs import RawInput
from sluice_mapper.key_state import KeyState
from sluice_mapper.record_step import ContributionWriters, Step, record_step

STREAM = SourceStream("hr", "people", "poll")
WRITERS = ContributionWriters(STREAM, ("raw.hr.people", 0), Names(), 1)


class Person(Entity):
    number: Annotated[str, Identity()]
    notes: str | None


class Row(BaseModel):
    number: str
    notes: str


@mapping(source="hr.people", version=3)
def short(raw: Row) -> Person:
    return Person(number=raw.number, notes=None)


@mapping(source="hr.people", version=7)
def long(raw: Row) -> Person:
    return Person(number=f"{raw.number}/long", notes=raw.notes)


def step(state: KeyState, minor: int, row: dict[str, Any], *mappings: Mapping) -> Step:
    record = Record("raw.hr.people", 0, minor, b'{"id":1}', orjson.dumps(row), {}, 1_000)
    inputs = RawInput(STREAM, mappings, "raw-id", "state", "state-id")
    return record_step(state, record, '{"id":1}', Position(1, 1, minor), inputs, WRITERS)


def test_a_step_does_not_change_the_state_that_it_is_given() -> None:
    before = step(KeyState(), 1, {"number": "E1", "notes": "some notes"}, short, long).state
    stored = before.to_json()
    after = step(before, 2, {"number": "E2", "notes": "other notes"}, short, long)
    assert before.to_json() == stored
    assert after.state != before
    assert [output.value is not None and b'"retracted":true' in output.value for output in after.outputs] == [
        *(False, True),
        *(False, True),
    ]


def test_a_mapping_whose_output_is_too_large_is_not_applied_and_the_others_are() -> None:
    before = step(KeyState(), 1, {"number": "E1", "notes": "some notes"}, short, long).state
    after = step(before, 2, {"number": "E1", "notes": "n" * 8_500_000}, short, long)
    assert [(error.code, version) for error, version in after.dead] == [("output-too-large", 7)]
    assert after.outcome == "dead"
    assert after.state.seen == Position(1, 1, 2)
    assert after.state.emitted == {"short": (Position(1, 1, 2), 3), "long": (Position(1, 1, 1), 7)}
    assert after.state.targets == before.targets


def test_a_state_is_read_back_as_it_was_written() -> None:
    state = step(KeyState(), 1, {"number": "E1", "notes": "some notes"}, short).state
    state = state.replace(deleted=Position(1, 1, 0), carried={"notes": ([1, {"a": "b"}], Position(1, 1, 1))})
    assert KeyState.from_json(state.to_json()) == state
    assert orjson.loads(state.to_json()) == [
        [1, 1, 1],
        [1, 1, 0],
        {"short": [[1, 1, 1], 3]},
        {"short": [["person", "E1", "main"]]},
        {"notes": [[1, {"a": "b"}], [1, 1, 1]]},
    ]
