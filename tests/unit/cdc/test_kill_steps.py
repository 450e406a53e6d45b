"""The campaign of kills names steps that exist, and notices every kind of damage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sluice.position import Position
from support.cdc import Raw
from support.cdc_kills import Damage, checked
from support.kill_steps import STEPS, Step, owner_of


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_the_place_of_every_step_exists(step: Step) -> None:
    owner, name = owner_of(step.place)
    assert callable(getattr(owner, name)), f"{step.place} was renamed: change the step in tests/support/kill_steps.py"


def test_the_names_of_steps_are_unique() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


def raw(op: str, major: int, version: int, minor: int = 1) -> Raw:
    after = None if op == "d" else {"id": 1, "version": version}
    body: dict[str, Any] = {"op": op, "after": after}
    return Raw(0, b'{"id":1}', orjson.dumps(body), Position(1, major, minor), {})


def sweep(major: int) -> Raw:
    return Raw(0, b'{"$sweep":"public.t"}', b"", Position(1, major, 0), {"sluice-op": b"s"})


def damage_of(records: list[Raw]) -> Damage:
    return checked(records).damage


COMPLETE = [
    raw("r", 10, 3, 0),
    raw("u", 20, 4),
    raw("d", 30, 0),
    Raw(0, b'{"id":1}', None, Position(1, 30, 1), {}),
    raw("c", 40, 1),
    raw("r", 50, 1, 0),
    sweep(50),
    raw("u", 60, 2),
]


def test_a_complete_log_has_no_damage() -> None:
    assert vars(damage_of(COMPLETE)) == {"lost": [], "doubled": 0, "unordered": []}


def test_the_rows_that_a_log_leaves_are_those_neither_deleted_nor_swept() -> None:
    assert checked(COMPLETE).versions() == {1: 2}
    assert checked(COMPLETE[:3]).versions() == {}
    assert checked([raw("r", 10, 3, 0), sweep(20)]).versions() == {}


def test_a_missing_change_is_found() -> None:
    assert damage_of([raw("r", 10, 3, 0), raw("u", 30, 5)]).lost == ['{"id":1}: version 5 after 3 at 1:30:1']
    without_delete = [*COMPLETE[:2], *COMPLETE[4:]]
    assert damage_of(without_delete).lost == ['{"id":1}: version 1 after 4 at 1:40:1']


def test_a_row_that_is_read_again_older_or_after_its_delete_is_found() -> None:
    assert damage_of([raw("u", 20, 4), raw("r", 30, 3, 0)]).lost != []
    assert damage_of([raw("d", 20, 0), raw("r", 30, 3, 0)]).lost != []
    assert damage_of([raw("u", 20, 4), raw("r", 30, 4, 0)]).lost == []


def test_records_on_both_sides_of_a_request_or_of_two_epochs_are_not_compared() -> None:
    before, after = raw("u", 20, 4), raw("u", 40, 9)
    assert checked([before, after], [30]).damage.lost == []
    assert checked([before, after], [10, 50]).damage.lost != []
    next_epoch = after._replace(position=Position(2, 40, 1))
    assert damage_of([before, next_epoch]).lost == []


def test_a_repeated_record_is_found() -> None:
    assert damage_of([*COMPLETE[:2], COMPLETE[1], *COMPLETE[2:]]).doubled == 1


def test_an_older_record_after_a_newer_one_is_found() -> None:
    assert damage_of([COMPLETE[1], COMPLETE[0]]).unordered == ['{"id":1}: 1:10:0 after 1:20:1']


def test_a_key_that_a_sweep_retracted_may_begin_again() -> None:
    assert damage_of([raw("r", 10, 3, 0), sweep(20), raw("c", 30, 1)]).lost == []
    assert damage_of([raw("r", 10, 3, 0), sweep(10), raw("c", 30, 1)]).lost != []
