"""From field values to JSON: nothing is lost, and what a topic or table downstream refuses is refused here."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.entities import Money
from sluice.errors import DeadRecord
from support.decoding import decoded
from support.workers import Worker

CONTRACT = Worker.contract()
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
AMOUNT = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**33), max_value=10**33, places=4)
VALUES = {
    "full_name": TEXT,
    "base_pay": st.builds(Money, AMOUNT, st.sampled_from(["EUR", "USD"])) | st.none(),
    "height": st.decimals(min_value=-9999999, max_value=9999999, places=3),
    "birthday": st.dates() | st.none(),
    "hired_at": st.datetimes(timezones=st.just(UTC)),
    "rating": st.floats(allow_nan=False, allow_infinity=False),
    "badge": st.binary(),
    "level": st.integers(-(2**63), 2**63 - 1),
    "remote": st.booleans() | st.none(),
}


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_every_value_can_be_read_back_unchanged(data: st.DataObject, field: str) -> None:
    value = data.draw(VALUES[field])
    assert decoded(CONTRACT, field, CONTRACT.encoders[field](value)) == value


@pytest.mark.parametrize(
    ("field", "value", "encoded"),
    [
        ("base_pay", Money(Decimal("12.3"), "EUR"), {"amount": "12.3000", "currency": "EUR"}),
        ("base_pay", Money("1e3", "EUR"), {"amount": "1000.0000", "currency": "EUR"}),
        ("height", Decimal("1.8765"), "1.876"),
        ("height", Decimal("1.8775"), "1.878"),
        ("height", Decimal("-0.0001"), "0.000"),
        ("birthday", date(1999, 2, 28), "1999-02-28"),
        ("hired_at", datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
        ("hired_at", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), -1),
        ("badge", b"\x00\xff", "AP8="),
        ("rating", -0.0, 0.0),
        ("height", None, None),
    ],
)
def test_a_value_has_one_encoding(field: str, value: Any, encoded: Any) -> None:
    got = CONTRACT.encoders[field](value)
    assert got == encoded
    assert str(got) == str(encoded)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("full_name", None, "null-in-required-field"),
        ("full_name", "Zo\0e", "nul-character"),
        ("full_name", "\ud800", "invalid-unicode"),
        ("full_name", 7, "wrong-type"),
        ("level", True, "wrong-type"),
        ("level", 2**63, "number-out-of-range"),
        ("rating", float("nan"), "not-finite"),
        ("rating", float("-inf"), "not-finite"),
        ("height", Decimal("NaN"), "not-finite"),
        ("height", Decimal("10000000"), "number-out-of-range"),
        ("height", Decimal("9999999.9996"), "number-out-of-range"),
        ("height", Decimal("1e999999"), "number-out-of-range"),
        ("base_pay", Money(Decimal(10) ** 34, "EUR"), "number-out-of-range"),
        ("base_pay", Money(1, "eur"), "bad-currency"),
        ("hired_at", datetime(2024, 1, 1), "time-without-zone"),
        ("birthday", datetime(2024, 1, 1, tzinfo=UTC), "wrong-type"),
    ],
)
def test_a_value_that_cannot_be_stored_downstream_is_refused_and_not_quoted(field: str, value: Any, code: str) -> None:
    with pytest.raises(DeadRecord) as dead:
        CONTRACT.encoders[field](value)
    assert dead.value.code == code
    assert f"worker.{field}" in dead.value.reason
    assert len(str(value)) < 5 or str(value) not in dead.value.reason
