"""Pure decisions of polling: when to poll again, what is new, which cursor is newer, what an enumeration deletes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.connector import CursorValue, Stream
from sluice.connector.cursor import order
from sluice.connector.record import SourceRecord
from sluice.errors import EnvironmentFault
from sluice.ingress.backpressure import Flow
from sluice.ingress.deletes import Loss
from sluice.position import Position
from sluice_ingress_poller.enumeration import (
    AcceptedLoss,
    DeleteVerdict,
    Enumeration,
    ShrinkGuard,
    decide_deletes,
)
from sluice_ingress_poller.page import RECORD_BYTES_MAX, Item, content_hash, page_changes, stated_change
from sluice_ingress_poller.polled_stream import SourceBackoff, shard_of
from sluice_ingress_poller.records import uuid7
from sluice_ingress_poller.schedule import RETRY_MAX_S, poll_interval_s, retry_delay_s, waits_too_long
from sluice_ingress_poller.watermark import StoredFault, Watermark, newer, taken_over

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def keys(*numbers: int) -> list[bytes]:
    return [b'{"id":%d}' % n for n in numbers]


def listing(*listed: int, unreadable: int = 0) -> Enumeration:
    return Enumeration(set(keys(*listed)), unreadable)


@pytest.mark.parametrize(
    ("freshness_s", "flow", "interval_s"),
    [(60, Flow.FLOWING, 30), (60, Flow.THROTTLED, 120), (0.1, Flow.FLOWING, 0.2)],
)
def test_the_interval_follows_the_freshness_wanted(freshness_s: float, flow: Flow, interval_s: float) -> None:
    assert poll_interval_s(freshness_s, flow) == interval_s


@pytest.mark.parametrize(
    ("attempt", "asked_for_s", "spread", "delay_s"),
    [
        (1, None, 0.0, 0.5),
        (1, None, 1.0, 1.0),
        (4, None, 1.0, 8.0),
        (50, None, 1.0, 60.0),
        (1, 30.0, 0.5, 30.0),
        (9, 30.0, 1.0, 30.0),
        (1, 86_400.0, 1.0, 3_600.0),
        (1, 0.0, 1.0, 1.0),
    ],
)
def test_a_retry_waits_as_long_as_it_should(
    attempt: int, asked_for_s: float | None, spread: float, delay_s: float
) -> None:
    assert retry_delay_s(attempt, asked_for_s, spread) == delay_s


@pytest.mark.parametrize(
    ("wanted_s", "due_s", "freshness_s", "fault"),
    [
        (100, 0, 3, False),  # no wait was requested
        (100, 125, 3, False),  # over before it matters
        (100, 150, 3, True),  # requested again and again, no answer meanwhile
        (100, 700, 60, True),
        (100, 700, 3_600, False),  # still as fresh as is wanted
    ],
)
def test_a_wait_is_a_fault_as_soon_as_it_is_known_to_exceed_the_freshness(
    wanted_s: float, due_s: float, freshness_s: float, fault: bool
) -> None:
    assert waits_too_long(wanted_s, due_s, freshness_s) == fault


def test_a_backoff_says_what_was_answered_and_until_when_and_a_shorter_one_changes_nothing() -> None:
    backoff = SourceBackoff()
    backoff.extend(86_400, "GET http://h/things: status 429", 50.0, 1_714_564_800_000_000)
    assert backoff.until_s == 50 + 3_600
    assert backoff.why == (
        "no requests for 3600 s, until 2024-05-01T13:00:00Z: the source answered GET http://h/things: status 429 and "
        "Retry-After (86400 s), and all its streams wait"
    )
    before = backoff.why
    backoff.extend(5, "GET http://h/others: status 429", 60.0, 1_714_564_810_000_000)
    assert (backoff.until_s, backoff.why) == (3_650, before)


@given(st.integers(1, 10_000), st.none() | st.floats(0, 3600), st.floats(0, 1, exclude_max=True))
def test_a_retry_never_comes_before_the_source_allows_it(attempt: int, asked: float | None, spread: float) -> None:
    delay_s = retry_delay_s(attempt, asked, spread)
    assert delay_s >= (asked or 0)
    assert 0 < delay_s <= max(RETRY_MAX_S, asked or 0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, "2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00Z", "2024-05-01T11:00:00+02:00", "2024-05-01T10:00:00Z"),
        ("2024-05-01T10:00:00Z", None, "2024-05-01T10:00:00Z"),
        (None, None, None),
        (5, 7, 7),
        ("2024-05-01T10:00:00Z", "2099-01-01T00:00:00Z", "2024-05-01T10:00:00Z"),
    ],
)
def test_a_cursor_follows_the_source_and_not_its_typing_errors(
    old: CursorValue | None, new: CursorValue | None, expected: CursorValue | None
) -> None:
    assert newer(old, new, NOW) == expected


times = st.datetimes(datetime(2024, 1, 1), datetime(2024, 5, 2)).map(lambda t: t.isoformat() + "Z")


@given(st.none() | times, st.lists(st.none() | times))
def test_a_cursor_never_goes_back_and_never_passes_what_was_read(start: str | None, values: list[str | None]) -> None:
    cursor: CursorValue | None = start
    for value in values:
        before, cursor = cursor, newer(cursor, value, NOW)
        assert before is None or cursor is not None
        assert before is None or cursor is None or order(cursor) >= order(before)
    assert cursor in {start, *values}


def stored(epoch: int, incarnation: int) -> dict[str, Any]:
    return Watermark("2024-05-01T10:00:00Z", epoch, incarnation, 77).dump(99)


def test_a_watermark_survives_being_written_and_read() -> None:
    assert taken_over(stored(1, 4), 9, "x") == Watermark("2024-05-01T10:00:00Z", 1, 9, 77)
    assert taken_over(None, 0, "x") == Watermark(None, 1, 0)


def test_faults_survive_being_written_and_read_until_they_are_resolved() -> None:
    loss = Loss.of(keys(1, 2), 5)
    plain = Watermark(5, 1, 9, 77, paged="NextLink next", page_records=50, accepted="r", listed=5)
    faulty = replace(plain, raw_reset=Position(1, 8, 0)).with_fault("enumeration", "why", 3, loss)
    read = taken_over(json.loads(json.dumps(faulty.dump(99))), 10, "x")
    assert read.faults == {"enumeration": StoredFault("why", 3, loss)}
    assert (read.paged, read.page_records, read.accepted) == ("NextLink next", 50, "r")
    assert (read.listed, read.raw_reset) == (5, Position(1, 8, 0))
    assert read.with_fault("enumeration", "another", 8).faults["enumeration"].since_us == 3
    assert read.with_fault("changes", "", 8).faults == read.faults
    assert read.with_fault("enumeration", "", 8).faults == {}


def test_that_nothing_was_listed_survives_being_written_and_read() -> None:
    assert taken_over(Watermark(5, 1, 9, listed=0).dump(99), 10, "x").listed == 0
    assert taken_over(Watermark(5, 1, 9).dump(99), 10, "x").listed is None


def test_a_loss_is_identified_by_its_keys_in_any_order() -> None:
    assert Loss.of(keys(1, 2), 5) == Loss.of(keys(2, 1), 5)
    assert len({Loss.of(keys(*some), 5).digest for some in [(1,), (2,), (1, 2), (1, 3), ()]}) == 5


def test_re_created_shards_raise_the_epoch() -> None:
    assert taken_over(stored(1, 40), 0, "x").epoch == 2
    assert taken_over(stored(1, 40), 40, "x").epoch == 2
    assert taken_over(stored(1, 40), 42, "x").epoch == 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20))
def test_positions_of_later_owners_are_higher_whatever_the_offset_of_their_lease(incarnations: list[int]) -> None:
    written: dict[str, Any] | None = None
    last = Position(0, 0, 0)
    for incarnation in incarnations:
        watermark = taken_over(written, incarnation, "x")
        first = Position(watermark.epoch, watermark.incarnation, 1)
        assert first > last
        last = first._replace(minor=1_000)
        written = watermark.dump(0)


def test_a_watermark_of_an_unknown_form_is_a_stop() -> None:
    with pytest.raises(EnvironmentFault, match="version 2"):
        taken_over({"v": 2}, 1, "watermark hr/workers")


def item(number: int | None, raw: bytes) -> Item:
    return Item(None if number is None else keys(number)[0], raw, None, None, "" if number else "no key")


def nothing_known(_: bytes) -> bytes | None:
    return None


def test_only_new_contents_are_published() -> None:
    hashes = {keys(1)[0]: content_hash(b"same"), keys(2)[0]: content_hash(b"old")}
    found = page_changes([item(1, b"same"), item(2, b"new"), item(3, b"first")], hashes.get, ())
    assert [i.raw for i in found.upserts] == [b"new", b"first"]
    assert found.unchanged == 1


def test_a_key_twice_in_a_page_is_published_twice_if_its_contents_differ() -> None:
    found = page_changes([item(1, b"a"), item(1, b"a"), item(1, b"b"), item(1, b"a")], nothing_known, ())
    assert [i.raw for i in found.upserts] == [b"a", b"b", b"a"]


def test_bad_records_are_parked_once() -> None:
    large = b"x" * RECORD_BYTES_MAX
    items = [item(None, b"?"), item(1, large), item(2, b"good")]
    found = page_changes(items, nothing_known, ())
    assert [(p.code, p.key) for p in found.parked] == [("unreadable-key", None), ("too-large", keys(1)[0])]
    again = page_changes(items, nothing_known, {content_hash(b"?"), content_hash(large)})
    assert (again.parked, again.unchanged, len(again.upserts)) == ([], 2, 1)


def judged(
    listed: Enumeration,
    known: list[bytes],
    listings: int = 2,
    suspects: frozenset[bytes] = frozenset(),
    accepted: AcceptedLoss = AcceptedLoss(),  # noqa: B008 - a frozen value
    guard: ShrinkGuard = ShrinkGuard(),  # noqa: B008 - a frozen value
) -> DeleteVerdict:
    confirmed = None if listings == 1 else suspects
    return decide_deletes(listed, known, guard, confirmed, accepted, "hr/workers")


def test_a_key_missing_from_two_complete_listings_is_deleted() -> None:
    first = judged(listing(1, 3, 4, 5), keys(1, 2, 3, 4, 5))
    assert (first.deletes, first.suspects) == ((), frozenset(keys(2)))
    second = judged(listing(1, 4, 5, 6), keys(1, 2, 4, 5, 6), suspects=first.suspects)
    assert (second.deletes, second.suspects) == (tuple(keys(2)), frozenset())


def test_one_listing_is_enough_over_a_stable_snapshot() -> None:
    assert judged(listing(1), keys(1, 2), 1).deletes == tuple(keys(2))


def test_an_unreadable_key_blocks_all_deletes() -> None:
    verdict = judged(listing(1, unreadable=1), keys(1, 2), suspects=frozenset(keys(2)))
    assert verdict.deletes == ()
    assert "no readable key" in verdict.fault


@pytest.mark.parametrize(
    ("known", "listed", "fault"),
    [
        (0, 0, False),
        (1, 0, True),
        (1, 1, False),
        (2, 1, False),
        (2, 0, True),
        (3, 2, False),
        (3, 1, True),
        (8, 6, False),
        (8, 5, True),
        (10, 0, True),
        (12, 8, True),
        (40, 30, False),
        (40, 29, True),
        (1_000, 800, False),
        (1_000, 799, True),
    ],
)
def test_a_source_that_shrinks_beyond_the_guard_is_a_fault(known: int, listed: int, fault: bool) -> None:
    verdict = judged(listing(*range(listed)), keys(*range(known)), 1)
    assert bool(verdict.fault) is fault
    assert len(verdict.deletes) == (0 if fault else known - listed)
    if fault:
        assert f"{listed} of {known}" in verdict.fault
        words = ["paging", "account", f"{known - listed} are truly deleted", "sluice deletes accept hr workers"]
        places = [verdict.fault.index(word) for word in words]
        assert places == sorted(places), "what to check first is named first"


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_an_empty_listing_is_a_fault_whatever_the_guard_allows(fraction: float) -> None:
    verdict = judged(listing(), keys(1, 2), 1, guard=ShrinkGuard(1_000, fraction))
    assert (verdict.deletes, bool(verdict.fault)) == ((), True)


def test_an_accepted_loss_is_deleted_and_no_other() -> None:
    known = keys(*range(20))
    refused = judged(listing(*range(5)), known)
    assert refused.loss is not None
    accepted = AcceptedLoss(refused.loss.digest)
    assert set(judged(listing(*range(5)), known, accepted=accepted).deletes) == set(keys(*range(5, 20)))
    assert judged(listing(*range(4)), known, accepted=accepted).fault
    assert judged(listing(), known, accepted=accepted).fault


def test_keys_listed_again_since_a_loss_was_accepted_stay_and_keys_missing_since_are_decided_separately() -> None:
    known = keys(*range(20))
    refused = judged(listing(*range(5)), known)
    assert refused.loss is not None
    accepted = AcceptedLoss(refused.loss.digest, refused.lost)
    verdict = judged(listing(0, 1, 2, 3, 19), known, accepted=accepted)
    assert set(verdict.deletes) == set(keys(*range(5, 19)))
    assert verdict.suspects == frozenset(keys(4))


numbers = st.sets(st.integers(0, 30))


@given(numbers, numbers, numbers, st.integers(1, 2), st.booleans())
def test_deletes_are_known_and_not_listed(
    known: set[int], listed: set[int], suspected: set[int], listings: int, unreadable: bool
) -> None:
    suspects = frozenset(keys(*suspected))
    verdict = judged(listing(*listed, unreadable=int(unreadable)), keys(*known), listings, suspects=suspects)
    deleted = set(verdict.deletes)
    assert deleted <= set(keys(*known)) - set(keys(*listed))
    assert listings == 1 or deleted <= suspects
    assert not (deleted and (unreadable or verdict.fault))
    assert not deleted & verdict.suspects
    assert not (deleted and not listed)


def test_a_stream_keeps_its_shard_over_releases() -> None:
    assert [shard_of(key, 4) for key in ("hr/workers", "erp_api/employees", "erp_api/move_lines")] == [1, 2, 2]


def test_a_response_id_sorts_by_time_and_says_its_version() -> None:
    at_ms = int((NOW - timedelta(seconds=1)).timestamp() * 1000)
    first, second = uuid7(at_ms), uuid7(at_ms + 1)
    assert first < second
    assert int(first.replace("-", "")[:12], 16) == at_ms
    assert first[14] == "7"
    assert first[19] in "89ab"
    assert len(first) == 36


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_of_change_outside_of_the_calendar_counts_as_none_stated(year: int) -> None:
    offset = timezone(timedelta(hours=14 if year == 1 else -14))
    stated = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 12, tzinfo=offset)
    stream = cast(Stream[Any], SimpleNamespace(changed_at=lambda _: stated))
    assert stated_change(stream, SourceRecord(b'{"id":1}')) is None
