"""A view shows the writes of the open batch above what its store contains."""

from __future__ import annotations

from sluice.state import View
from support.memory_store import MemoryStore


def view() -> View:
    made = View(MemoryStore(), "state", 0, "id")
    for key in (b"a", b"b", b"c"):
        made.put(key, b"stored")
    made.advance(1)
    return made


def test_many_keys_are_read_with_the_writes_of_the_open_batch() -> None:
    state = view()
    state.put(b"b", b"changed")
    state.put(b"c", None)
    assert state.get_many([b"a", b"b", b"c", b"d"]) == [b"stored", b"changed", None, None]
    state.rollback()
    assert state.get_many([b"c", b"b"]) == [b"stored", b"stored"]
