"""Back-pressure: ingress sends fewer requests to sources while a downstream group lags. Pure functions of measured lag.

The levels are `flowing → throttled → paused`. The level rises at a bound, and falls only when the lag is well below
this bound. Without this hysteresis the level would change with each measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from sluice.kafka.log import Partition


class Flow(IntEnum):
    """How often ingress sends requests to a source, as a level. The number is the value of the metric."""

    FLOWING = 0
    THROTTLED = 1
    PAUSED = 2


@dataclass(frozen=True, slots=True)
class LagBounds:
    """The bounds of back-pressure. A lag of `throttle_records` or `pause_records` raises the level. A lag below the
    fraction `resume_fraction` of the same bound lowers it."""

    throttle_records: int = 50_000
    pause_records: int = 200_000
    resume_fraction: float = 0.5


def next_flow(flow: Flow, lag_records: int, bounds: LagBounds) -> Flow:
    """The next level of back-pressure, after a lag of `lag_records` was measured at the level `flow`."""
    if lag_records >= bounds.pause_records:
        return Flow.PAUSED
    if flow is Flow.PAUSED and lag_records >= bounds.pause_records * bounds.resume_fraction:
        return Flow.PAUSED
    if lag_records >= bounds.throttle_records:
        return Flow.THROTTLED
    if flow is not Flow.FLOWING and lag_records >= bounds.throttle_records * bounds.resume_fraction:
        return Flow.THROTTLED
    return Flow.FLOWING


def highest_committed(known: Mapping[Partition, int], committed: Mapping[Partition, int]) -> dict[Partition, int]:
    """The highest offset that a group has committed, by partition.

    `known`: the highest offsets so far. `committed`: the offsets that are committed now.
    """
    merged = dict(known)
    for at, offset in committed.items():
        merged[at] = max(merged.get(at, 0), offset)
    return merged


def counted_lag(ends: Mapping[Partition, int], highest: Mapping[Partition, int]) -> int:
    """The lag of a group for back-pressure, in records: those after the `highest` offset that the group has committed.

    The highest offset counts instead of the committed one, because a group whose offsets were moved back is not
    overloaded. `ends`: the last stable offsets. Partitions without a commit of the group do not count. Transaction
    markers have offsets, too, so an idle group has a lag of one or two for each partition, far below any bound.
    """
    return sum(max(0, end - highest[at]) for at, end in ends.items() if at in highest)
