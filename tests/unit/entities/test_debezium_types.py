"""Times and dates as Debezium writes them in change events."""

from datetime import UTC, date, datetime

import pytest
from pydantic import BaseModel, ValidationError

from sluice.entities import EpochDate, MicroTimestamp


class Row(BaseModel):
    at: MicroTimestamp
    on: EpochDate


def test_microseconds_and_days_since_1970_are_read_as_such() -> None:
    row = Row.model_validate({"at": 1704067200000001, "on": 19723})
    assert row.at == datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert row.on == date(2024, 1, 1)


def test_text_is_read_as_text() -> None:
    row = Row.model_validate({"at": "2024-01-01T00:00:00Z", "on": "2024-01-01"})
    assert (row.at.year, row.on.year) == (2024, 2024)


def test_what_is_no_time_is_a_validation_error() -> None:
    with pytest.raises(ValidationError):
        Row.model_validate({"at": 2**63, "on": 2**40})
