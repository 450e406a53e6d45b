"""When to ask again: pure functions of settings, failures and a random number that is handed in."""

from __future__ import annotations

from sluice.ingress.backpressure import Flow

INTERVAL_S_MIN = 0.2
RETRY_S_FIRST = 1.0
RETRY_S_MAX = 60.0
THROTTLED_FACTOR = 4.0
# What a source asks for is kept up to here: a mistaken header must not end a stream for days.
PATIENCE_S_MAX = 3_600.0
# A stream that its source keeps waiting is told once its next request comes so much later than its freshness.
WAIT_TOLD_BEYOND_S = 30.0


def poll_interval_s(freshness_s: float, flow: Flow = Flow.FLOWING) -> float:
    """From the start of one pass to the start of the next.

    Half of the freshness wanted: a change is at most one interval old when its pass begins, and the other half is
    there for the pass itself and the stages behind it. Four times that while downstream lags.
    """
    interval_s = max(freshness_s / 2, INTERVAL_S_MIN)
    return interval_s * THROTTLED_FACTOR if flow is Flow.THROTTLED else interval_s


def retry_delay_s(attempt: int, asked_for_s: float | None, spread: float) -> float:
    """Wait before attempt `attempt + 1` (from 1): what the source asked for, else exponential with full-range jitter
    in the upper half, so that many clients do not return together. `spread` is random in [0, 1).
    """
    backoff_s = min(RETRY_S_FIRST * 2.0 ** min(attempt - 1, 16), RETRY_S_MAX)
    delay_s = backoff_s * (0.5 + spread / 2)
    return delay_s if asked_for_s is None else max(patience_s(asked_for_s), min(delay_s, RETRY_S_FIRST))


def patience_s(asked_for_s: float) -> float:
    """How long a source that asked for `asked_for_s` is left alone."""
    return min(asked_for_s, PATIENCE_S_MAX)


def waits_too_long(wanted_s: float, due_s: float, freshness_s: float) -> bool:
    """Whether a request at `due_s` is too late to pass in silence; `wanted_s`: when it would go if no source asked for
    patience since the stream's last answer."""
    return due_s - wanted_s > freshness_s + WAIT_TOLD_BEYOND_S
