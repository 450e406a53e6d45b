"""Back-pressure as a table: levels, hysteresis, and that a rewind is no overload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.ingress.backpressure import Flow, LagBounds, counted_lag, highest_committed, next_flow
from sluice.kafka.log import Partition

BOUNDS = LagBounds(throttle_records=100, pause_records=400, resume_fraction=0.5)
F, T, P = Flow.FLOWING, Flow.THROTTLED, Flow.PAUSED


@pytest.mark.parametrize(
    ("flow", "lag_records", "expected"),
    [
        (F, 0, F),
        (F, 99, F),
        (F, 100, T),
        (F, 399, T),
        (F, 400, P),
        (T, 99, T),
        (T, 50, T),
        (T, 49, F),
        (T, 400, P),
        (P, 399, P),
        (P, 200, P),
        (P, 199, T),
        (P, 60, T),
        (P, 49, F),
        (P, 10_000, P),
    ],
)
def test_levels_rise_at_the_bound_and_fall_well_below_it(flow: Flow, lag_records: int, expected: Flow) -> None:
    assert next_flow(flow, lag_records, BOUNDS) is expected


@given(st.sampled_from(Flow), st.integers(0, 1_000), st.integers(0, 1_000))
def test_more_lag_never_means_a_lower_level(flow: Flow, lag_records: int, more: int) -> None:
    assert next_flow(flow, lag_records + more, BOUNDS) >= next_flow(flow, lag_records, BOUNDS)


@given(st.sampled_from(Flow), st.integers(0, 1_000))
def test_a_level_stays_while_the_lag_does_not_change(flow: Flow, lag_records: int) -> None:
    settled = next_flow(flow, lag_records, BOUNDS)
    assert next_flow(settled, lag_records, BOUNDS) is settled


def test_a_rewound_group_is_not_overloaded() -> None:
    at: Partition = ("raw.hr.workers", 0)
    highest = highest_committed({}, {at: 1_000})
    highest = highest_committed(highest, {at: 0})
    assert counted_lag({at: 1_010}, highest) == 10


def test_partitions_that_a_group_never_committed_do_not_count() -> None:
    assert counted_lag({("raw.hr.workers", 0): 5_000}, {}) == 0
    assert counted_lag({("a", 0): 3}, {("a", 0): 5}) == 0
