"""The benchmark of CDC refuses a topic that misses, repeats, reorders or misstates a change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
import pytest

from bench import cdc, ledger
from bench.cdc_changes import change, changes
from bench.cdc_check import DAY_0, Checker, decimal, records_of_changes
from bench.sampling import BenchError, Figures
from bench.topics import Message

KEYS, CHANGES = 8, 40
PHASE = Figures(
    rate=1000, client=10, broker=4, postgres=2, rss_mib=100, process_mib=60, other=0.01, first_s=2, measured=900
)


def message(op: str, number: int, version: int) -> Message:
    """An event as Debezium writes it; `t`: a tombstone."""
    key = ledger.raw_key(number)
    if op == "t":
        return Message(key, None, [])
    one = ledger.entry(number, version, 0)
    after: dict[str, Any] = {**one._asdict(), "booked_on": (date.fromisoformat(one.booked_on) - DAY_0).days}
    return Message(key, orjson.dumps({"op": op, "after": None if op == "d" else after}), [])


def snapshot() -> list[Message]:
    marker = Message(b'{"$sweep":"public.ledger_entry"}', b"", [("sluice-op", b"s")])
    return [*(message("r", number, 0) for number in range(KEYS)), marker]


def streamed() -> list[Message]:
    found = []
    for one in changes(CHANGES, KEYS):
        found.append(message(one.op, one.number, one.version))
        if one.op == "d":
            found.append(message("t", one.number, 0))
    return found


def checked(events: list[Message]) -> Checker:
    checker = Checker("ours", KEYS, 0)
    checker.snapshot(snapshot())
    checker.changes(events, CHANGES)
    return checker


def test_a_complete_topic_is_accepted_and_leaves_the_rows_of_the_table() -> None:
    checker = checked(streamed())
    inserted = [one.number for one in changes(CHANGES, KEYS) if one.op == "c"]
    deleted = [one.number for one in changes(CHANGES, KEYS) if one.op == "d"]
    newest = dict.fromkeys(range(KEYS), 3) | dict.fromkeys(inserted, 0)
    quantity = sum(ledger.entry(n, v, 0).quantity for n, v in newest.items() if n not in deleted)
    checker.require_table(len(newest) - len(deleted), quantity)
    with pytest.raises(BenchError, match="the events leave rows"):
        checker.require_table(len(newest) - len(deleted), quantity + 1)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda events: events[1:], "other values"),
        (lambda events: events[:-1], "has 2 events, expected 3"),
        (lambda events: [*events, events[-2]], "has more than 3 events"),
        (lambda events: [events[13], *events[:13], *events[14:]], "other values"),
        (lambda events: [message("u", 0, 2), *events[1:]], "other values"),
        (lambda events: [message("c", 0, 1), *events[1:]], "wrong order"),
        (lambda events: [*events, message("c", 10**6, 0)], "has more than 0 events"),
    ],
)
def test_a_topic_that_is_not_that_of_the_changes_gives_no_figure(
    damage: Callable[[list[Message]], list[Message]], said: str
) -> None:
    with pytest.raises(BenchError, match=said):
        checked(damage(streamed()))


@pytest.mark.parametrize("damaged", [snapshot()[1:], [*snapshot(), snapshot()[0]], [message("u", 0, 0)]])
def test_a_snapshot_that_misses_or_repeats_a_row_gives_no_figure(damaged: list[Message]) -> None:
    with pytest.raises(BenchError, match="snapshot"):
        Checker("ours", KEYS, 0).snapshot(damaged)


def test_each_delete_has_a_tombstone_and_deletes_a_row_of_the_same_ten_changes() -> None:
    assert [change(number, KEYS).op for number in range(10)] == [*"uuuuuucccd"]
    assert change(19, KEYS).number == change(16, KEYS).number
    assert len(streamed()) == records_of_changes(CHANGES)


def test_a_decimal_is_read_from_its_text_and_from_its_unscaled_bytes() -> None:
    assert decimal("-12.34", 2) == decimal("+y4=", 2)


def test_a_run_has_the_figures_of_its_catch_up_and_the_largest_memory_of_all_phases() -> None:
    more = PHASE.__class__(**{**vars(PHASE), "rate": 5.0, "rss_mib": 140.0, "other": 0.2})
    found = cdc.combined(more, PHASE, None)
    assert found is not None
    assert (found.rate, found.snapshot_rate, found.rss_mib, found.other) == (1000, 5, 140, 0.2)
    assert cdc.combined(None, None, None) is None
