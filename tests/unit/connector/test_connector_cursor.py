"""Cursors: since-values spelled as the source spells them, compared as times, never ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.connector import Cursor, CursorValue
from sluice.connector.cursor import as_time, order


@pytest.mark.parametrize(
    ("newest", "lookback", "since"),
    [
        ("2024-05-01T10:00:00Z", timedelta(minutes=5), "2024-05-01T09:55:00Z"),
        ("2024-05-01T10:00:00.250Z", timedelta(seconds=1), "2024-05-01T09:59:59.250000Z"),
        ("2024-05-01T10:00:00+02:00", timedelta(minutes=5), "2024-05-01T09:55:00+02:00"),
        ("2024-05-01 10:00:00", timedelta(minutes=5), "2024-05-01 09:55:00"),
        (1_000, 10, 990),
        ("0001-01-01T00:00:00Z", timedelta(minutes=5), "0001-01-01T00:00:00Z"),
    ],
)
def test_the_next_poll_starts_a_lookback_earlier(
    newest: CursorValue, lookback: timedelta | int, since: CursorValue
) -> None:
    assert Cursor("t", lookback=lookback).since(newest) == since


def test_times_compare_across_zones() -> None:
    assert order("2024-05-01T10:00:00+02:00") == order("2024-05-01T08:00:00Z") == order("2024-05-01T08:00:00")


def test_a_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        order("yesterday")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_whose_offset_puts_it_outside_of_the_calendar_is_refused(text: str) -> None:
    for read in (order, as_time):
        with pytest.raises(ValueError, match="calendar"):
            read(text)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.timedeltas(timedelta(0), timedelta(days=1)))
def test_a_since_value_is_never_later_than_the_cursor(newest: datetime, lookback: timedelta) -> None:
    text = newest.isoformat() + "Z"
    since = Cursor("t", lookback=lookback).since(text)
    assert order(text) - order(since) == lookback // timedelta(microseconds=1)


def test_a_number_states_no_time() -> None:
    assert as_time(5) is None
    assert as_time("2024-05-01T08:00:00Z") == datetime(2024, 5, 1, 8, tzinfo=UTC)
