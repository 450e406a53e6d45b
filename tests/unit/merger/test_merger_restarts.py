"""A merger that starts again reads each contribution once if its local state is that of the last commit, and publishes
nothing older than what it published, whatever its local state lost."""

from __future__ import annotations

import ast
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.stage.batch import Batch
from sluice.state import view as view_module
from sluice_merger import partition as partition_module
from support.memory_store import MemoryStore
from support.merging_bench import IN, OUT, STATE, MergerBench, Person, PersonByErp


def drained() -> MergerBench:
    merger = MergerBench(Person.contract())
    merger.run()
    return merger


def test_after_a_restart_only_the_group_reads_the_new_contributions() -> None:
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="Ada L.")
    merger.claim("E1", "hr", "1:3:1", name="Ada Lovelace")
    merger.crash()
    merger.run()
    assert merger.outcomes == ["mapped", "mapped", "mapped"]
    assert [dict(m.headers())["sluice-revision"] for m in merger.canonical] == [b"1", b"2", b"3"]


def test_a_new_merger_reads_each_contribution_once() -> None:
    merger = MergerBench(Person.contract())
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "hr", "1:2:1", name="Ada L.")
    merger.crash()
    merger.run()
    assert merger.outcomes == ["mapped", "mapped"]


def test_state_that_lost_its_newest_writes_is_read_to_the_end_of_the_log() -> None:
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="Ada L.")
    merger.run()
    merger.claim("E1", "hr", "1:3:1", name="Ada Lovelace")
    merger.crash(lost_writes=3)
    merger.run()
    assert merger.outcomes == ["mapped", "mapped", "unchanged"]
    assert len(merger.canonical) == 3


@pytest.mark.parametrize("lost_writes", range(12))
def test_after_a_crash_the_state_is_that_of_the_log_whatever_writes_are_lost(lost_writes: int) -> None:
    merger = drained()
    for major in range(1, 4):
        merger.claim("E1", "hr", f"1:{major}:1", name=f"Ada {major}")
        merger.claim(f"E{major}", "erp", "1:1:1", name="A. L.", pay=str(major))
        merger.run()
    published = len(merger.canonical)
    merger.crash(lost_writes=lost_writes)
    merger.run()
    assert len(merger.canonical) == published
    kept = MergerBench(Person.contract())
    for topic in (IN, OUT):
        for message in merger.logs.messages(topic):
            kept.logs.append(topic, 0, message.key(), message.value(), message.headers())
    kept.crash()
    kept.run()
    rows = [dict(one.store.scan(f"{IN}/".encode())) for one in (merger, kept)]
    assert rows[0] == rows[1]


def test_a_start_that_ended_before_it_had_merged_is_repeated_under_the_old_rules_too() -> None:
    """The process with the new rules reads contributions that its group has not read, and dies."""
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.claim("E1", "hr", "1:2:1", name="Ada L.")
    merger.claim("E2", "hr", "1:1:1", name="Bob")
    with patch.object(view_module, "RESTORE_SLICE_RECORDS", 1):
        merger.die_while_starting(PersonByErp.contract(), 1)
    merger.use(Person.contract())
    merger.run()
    assert "'Ada L.'" in str(merger.golden()["E1"])
    assert "'Bob'" in str(merger.golden()["E2"])


def test_records_published_by_a_merge_of_everything_are_not_read_again() -> None:
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.claim("E1", "erp", "1:1:1", name="A. L.")
    merger.run()
    merger.use(PersonByErp.contract())
    merger.batch = Batch("merger", "dlq.merger", 1, 60.0)  # full with the first record: the next batch ends the merge
    merger.drain()
    assert len(merger.canonical) == 2
    merger.outcomes.clear()
    merger.claim("E1", "erp", "1:2:1", name="A. Lovelace")
    merger.crash()
    merger.run()
    assert merger.outcomes == ["mapped"]


def test_a_merge_of_everything_that_publishes_nothing_is_split_into_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "SLICE_ENTITIES", 1)
    merger = drained()
    for number in range(5):
        merger.claim(f"E{number}", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.crash(lose=True)
    batches = 0
    while merger.merger.busy((IN, 0)):
        merger.batch = Batch("merger", "dlq.merger", 100, 60.0)  # less than the row of one entity
        merger.work()
        assert not merger.batch.empty, "the loop commits it"
        merger.commit()
        batches += 1
    assert batches >= 5
    assert len(merger.canonical) == 5


def test_state_of_an_offset_to_which_the_group_was_moved_back_publishes_nothing_older() -> None:
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    old_store, offset = merger.store, merger.next_offset
    merger.crash(lose=True)  # another process takes over
    merger.claim("E1", "hr", "1:2:1", name="Ada L.")
    merger.run()
    merger.store = old_store
    merger.rewind(offset)
    merger.run()
    assert ["'Ada L.'" in str(m.value()) for m in merger.canonical] == [False, True]


def test_empty_state_whose_partition_record_is_lost_deletes_no_canonical_record() -> None:
    merger = drained()
    empty_store = merger.store
    merger.crash(lose=True)
    merger.claim("E1", "hr", "1:1:1", name="Ada")
    merger.run()
    merger.logs.remove(STATE, 0)
    merger.store = empty_store
    merger.rewind(0)
    merger.run()
    assert [m.value() is None for m in merger.canonical] == [False]


_CLAIM = st.tuples(st.just("claim"), st.sampled_from(["E1", "E2"]), st.sampled_from(["hr", "erp"]))
_EVENT = st.tuples(st.sampled_from(["take", "take", "compact", "crash", "die", "drop", "foreign"]), st.integers(0, 6))


@settings(max_examples=400, deadline=None)
@given(events=st.lists(_CLAIM | _EVENT, min_size=4, max_size=30))
def test_nothing_older_than_what_was_published_is_published(events: list[tuple[str, ...]]) -> None:
    merger, written = MergerBench(Person.contract()), 0
    with patch.object(view_module, "RESTORE_SLICE_RECORDS", 1):
        for event in events:
            match event:
                case ("claim", entity_id, source):
                    written += 1
                    field = "name" if source == "hr" else "pay"
                    merger.claim(entity_id, source, f"1:{written}:1", **{field: f"{written}"})  # type: ignore[arg-type]
                case (kind, count):
                    _play(merger, kind, int(count))
        merger.run()
        merger.run()
    newest: dict[tuple[bytes | None, str], int] = {}
    for message in merger.canonical:
        if message.value() == b"foreign":
            continue
        fields = ast.literal_eval((message.value() or b"{}").decode())
        for name in ("name", "pay"):
            value = int(fields.get(name, 0))
            assert value >= newest.get((message.key(), name), 0), f"{name} of {message.key()!r} goes back to {value}"
            newest[message.key(), name] = value
    _assert_all_merged(merger)


def _assert_all_merged(merger: MergerBench) -> None:
    fresh = MergerBench(Person.contract())
    for message in merger.logs.messages(IN):
        fresh.logs.append(IN, 0, message.key(), message.value(), [])
    fresh.crash()
    fresh.run()
    assert {k: v for k, v in merger.golden().items() if v} == {k: v for k, v in fresh.golden().items() if v}


def _play(merger: MergerBench, kind: str, count: int) -> None:
    if kind == "take":
        merger.drain()
        for _ in range(count):
            merger.take()
        merger.commit()
    elif kind == "compact":
        merger.logs.compact(IN, 0)
    elif kind == "crash":
        merger.crash(lost_writes=count)
    elif kind == "foreign":
        merger.logs.append(OUT, 0, b"E1", b"foreign", [("sluice-content", b"v1:x"), ("sluice-revision", b"9")])
        merger.crash()
    elif kind == "die":
        merger.die_while_starting(PersonByErp.contract(), count)
        merger.use(Person.contract())
    else:
        merger.drain()
        merger.take()
        merger.drop()


def with_an_older_version_stored() -> MergerBench:
    """While this merger had no partition, another one with another order of the sources published a version."""
    merger = drained()
    merger.claim("E1", "hr", "1:1:1", name="Ada", pay="hr")
    merger.claim("E1", "erp", "1:1:1", name="A.", pay="erp")
    merger.run()
    ours = merger.store
    for store in (MemoryStore(), ours):
        merger.store = store
        merger.use(Person.contract(), ("erp", "hr"))
        merger.drain()
    return merger


def test_a_version_that_another_merger_published_is_not_published_again() -> None:
    merger = with_an_older_version_stored()
    published = len(merger.canonical)
    merger.claim("E1", "hr", "1:2:1", name="Ada", pay="not this one")
    merger.run()
    assert len(merger.canonical) == published


def test_a_change_back_to_an_older_version_is_published() -> None:
    merger = with_an_older_version_stored()
    merger.claim("E1", "erp", "1:2:1", retracted=True)
    merger.run()
    assert ast.literal_eval(merger.golden()["E1"] or "") == {"number": "E1", "name": "Ada", "pay": "hr"}
