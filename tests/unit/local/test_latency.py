"""What counts as an edit's value in a golden column, and the quantiles of many latencies."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from sluice.local.edit_latency import quantile, shows


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        ("Ada", "Ada", True),
        ("Ada", "Bob", False),
        (None, None, True),
        (None, "Ada", False),
        (True, True, True),
        (date(2026, 3, 1), "2026-03-01", True),
        (date(2026, 3, 1), "2026-03-02", False),
        (datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), 1_000_005, True),
        (datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC), 1_000_006, False),
        (Decimal("12.5000"), "12.5", True),
        (Decimal("12.5000"), 12.5, True),
        (Decimal("12.5001"), "12.5", False),
    ],
)
def test_a_column_shows_a_value_however_json_spells_it(cell: object, value: object, expected: bool) -> None:
    assert shows(cell, value) is expected


def test_quantiles_are_measured_latencies_by_nearest_rank() -> None:
    hundred = [n / 10 for n in range(1, 101)]
    assert (quantile(hundred, 0.5), quantile(hundred, 0.99)) == (5.0, 9.9)
    assert (quantile([0.25], 0.5), quantile([0.25], 0.99)) == (0.25, 0.25)
    assert quantile([], 0.99) is None
