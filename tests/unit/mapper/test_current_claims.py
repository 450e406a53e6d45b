"""Which claims a mapper without state reads from contributions, as a table; and the keys without a record."""

from __future__ import annotations

import pytest

from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.state import View
from sluice_mapper.key_state import KeyState
from sluice_mapper.recovery import with_claim
from sluice_mapper.sweep import Pass
from support.claims import contribution
from support.memory_store import MemoryStore

MAPPING, KEY = "worker", '{"id":1}'


def claim(entity_id: str, major: int, *, version: int = 1, retracted: bool = False) -> Contribution:
    like = contribution("hr", KEY, {}, position=Position(1, major, 0), retracted=retracted)
    raw = RawRef("raw.hr.workers", 0, major)
    return like.replace(entity_id=entity_id, mapping_version=version, raw=raw).sealed()


def restored(*claims: Contribution) -> KeyState:
    state = KeyState()
    for one in claims:
        state = with_claim(state, ("worker", one.entity_id, one.output), one)
    return state


@pytest.mark.parametrize(
    ("claims", "major", "version", "current"),
    [
        pytest.param([claim("E1", 5)], 5, 1, ["E1"], id="one"),
        pytest.param([claim("E1", 5), claim("E1", 6)], 6, 1, ["E1"], id="claimed again"),
        pytest.param([claim("E1", 6), claim("E1", 5)], 6, 1, ["E1"], id="an older one above it"),
        pytest.param([claim("E2", 6), claim("E1", 6, retracted=True)], 6, 1, ["E2"], id="moved"),
        pytest.param([claim("E1", 6, retracted=True), claim("E2", 6)], 6, 1, ["E2"], id="moved, read the other way"),
        pytest.param([claim("E1", 5), claim("E2", 6)], 6, 1, ["E2"], id="what was not claimed again is retracted"),
        pytest.param([claim("E1", 6), claim("E2", 6)], 6, 1, ["E1", "E2"], id="two entities of one record"),
        pytest.param([claim("E1", 5), claim("E1", 8, retracted=True)], 8, 1, [], id="deleted"),
        pytest.param([claim("E1", 5), claim("E1", 5, retracted=True)], 5, 1, [], id="retracted at its own position"),
        pytest.param([claim("E1", 5), claim("E2", 5, version=2)], 5, 2, ["E2"], id="a newer mapping"),
    ],
)
def test_the_current_claims_are_those_claimed_last(
    claims: list[Contribution], major: int, version: int, current: list[str]
) -> None:
    state = restored(*claims)
    assert state.emitted == {MAPPING: (Position(1, major, 0), version)}
    assert [target[1] for target in state.targets[MAPPING]] == current


def test_a_key_that_only_claims_name_is_unread_by_a_pass() -> None:
    view = View(MemoryStore(), "state.mapper.raw.hr.workers", 0, "id")
    seen = restored(claim("E1", 5)).replace(seen=Position(1, 5, 0))
    for key, state in {b'{"id":1}': restored(claim("E2", 5)), b'{"id":2}': seen, b'{"id":3}': KeyState()}.items():
        view.put(key, state.to_json())
    view.put(b'{"$partition":0}', b"not the state of a key")
    reading, found = Pass(9), []
    while not reading.scan.finished:
        found += reading.unread(view, 2)
    assert [key for key, _ in found] == [b'{"id":1}']
