"""Times as whole numbers since 1970: exact at both ends of the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.times import INSTANTS, POSTGRES_EPOCH_US, from_days, from_us, rfc3339, to_us


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_comes_back_from_its_microseconds(moment: datetime) -> None:
    us = to_us(moment)
    if us in INSTANTS:
        assert from_us(us) == moment.astimezone(UTC)  # in a repeated hour, `==` of two zones is always False


@pytest.mark.parametrize("us", [INSTANTS[0], -1, 0, INSTANTS[-1]])
def test_microseconds_come_back_from_their_time(us: int) -> None:
    assert to_us(from_us(us)) == us


@pytest.mark.parametrize("us", [INSTANTS[0] - 1, INSTANTS[-1] + 1, 10**30])
def test_microseconds_outside_of_the_calendar_are_refused(us: int) -> None:
    with pytest.raises(OverflowError):
        from_us(us)


@given(st.dates())
def test_a_date_comes_back_from_its_days(day: date) -> None:
    assert from_days((day - date(1970, 1, 1)).days) == day


@pytest.mark.parametrize("days", [-719_163, 2_932_897, 10**30])
def test_days_outside_of_the_calendar_are_refused(days: int) -> None:
    with pytest.raises(OverflowError):
        from_days(days)


def test_postgres_counts_from_the_year_2000() -> None:
    assert from_us(POSTGRES_EPOCH_US) == datetime(2000, 1, 1, tzinfo=UTC)


def test_a_time_in_utc_ends_with_z() -> None:
    assert rfc3339(from_us(1_500), "milliseconds") == "1970-01-01T00:00:00.001Z"
