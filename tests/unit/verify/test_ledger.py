"""The lines of a ledger in sequence, and compared with a log."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.verify.ledger import PartitionLedger
from sluice.verify.offsets import VisibleOffsets

AT = ("raw", 0)


def line(start: int, end: int, visible: int = 0, *, reset: bool = False, **other: Any) -> dict[str, Any]:
    outcomes = dict.fromkeys(("unchanged", "superseded", "filtered", "dead", "skipped"), 0)
    versions = {"person": other.pop("version", 1)}
    own = {"from": start, "to": end, "visible": visible, "mapped": visible, "reset": reset, "versions": versions}
    return {**outcomes, **own, **other}


def wrong(*lines: dict[str, Any], rereads: bool = False) -> list[str]:
    ledger = PartitionLedger(rereads=rereads)
    return [what for one in lines for what in ledger.add(one)]


def test_ranges_that_meet_are_right() -> None:
    assert wrong(line(0, 4, 3), line(4, 4), line(4, 9, 5)) == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([line(0, 4, 3), line(5, 9, 4)], "leaves out offsets 4 to 4"),
        ([line(0, 4, 3), line(3, 9, 4)], "begins before offset 4"),
        ([line(0, 4, 3, mapped=2)], "had 3 visible records, but outcomes of 2"),
        ([line(4, 3)], "ends before it begins"),
    ],
)
def test_what_is_wrong_with_a_line_is_named(lines: list[dict[str, Any]], message: str) -> None:
    (what,) = wrong(*lines)
    assert message in what


def test_a_jump_that_is_marked_as_a_reset_is_no_gap() -> None:
    assert wrong(line(0, 4, 3), line(0, 2, 1, reset=True), line(9, 9, reset=True)) == []


def test_a_sink_may_read_again_and_may_not_leave_anything_out() -> None:
    assert wrong(line(0, 4, 3), line(0, 6, 5), rereads=True) == []
    assert len(wrong(line(0, 4, 3), line(5, 6), rereads=True)) == 1


def log(*offsets: int, end: int) -> VisibleOffsets:
    visible = VisibleOffsets({AT: end})
    for offset in offsets:
        visible.add(AT, offset)
    return visible


def recounted(one: dict[str, Any], visible: VisibleOffsets, young_from: int = 0) -> list[str]:
    ledger = PartitionLedger()
    list(ledger.add(one))
    return list(ledger.recount(AT, visible, young_from))


def test_markers_between_records_are_not_counted() -> None:
    assert recounted(line(0, 5, 3), log(0, 1, 3, end=5)) == []


def test_a_number_that_differs_from_the_log_is_named() -> None:
    (what,) = recounted(line(0, 5, 4), log(0, 1, 3, end=5))
    assert "has 4 visible records, but the log has 3" in what


def test_a_range_that_compaction_may_have_reached_is_not_recounted() -> None:
    assert recounted(line(0, 5, 4), log(3, end=5), young_from=3) == []


def test_a_range_that_was_not_read_is_not_recounted() -> None:
    assert recounted(line(0, 9, 4), log(3, end=5)) == []


def test_the_version_a_record_was_last_read_with() -> None:
    ledger = PartitionLedger()
    for one in (line(10, 20, version=1), line(20, 30, version=2), line(10, 15, reset=True, version=2)):
        list(ledger.add(one))
    assert ledger.version_at(12, "person") == 2
    assert ledger.version_at(17, "person") == 1
    assert ledger.version_at(25, "person") == 2
    assert ledger.version_at(5, "person") == 1, "read before the first line: at most that line's version"
    assert ledger.version_at(30, "person") is None
    assert ledger.version_at(12, "a mapping of later") == 0


def test_a_ledger_that_always_had_one_version_answers_without_a_search() -> None:
    ledger = PartitionLedger()
    list(ledger.add(line(0, 10, version=3)))
    assert ledger.version_at(9, "person") == 3
    assert ledger.version_at(10, "person") is None
