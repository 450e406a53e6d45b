"""When to send the next request to a source: pure functions of settings, failures and a given random number."""

from __future__ import annotations

from sluice.ingress.backpressure import Flow

INTERVAL_MIN_S = 0.2
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
THROTTLED_FACTOR = 4.0
# No Retry-After delays a request for longer than this, because a wrong header must not stop a stream for days.
RETRY_AFTER_MAX_S = 3_600.0
# A wait that a source requests is a fault if it delays a request by more than the stream's freshness and this time.
WAIT_REPORTED_BEYOND_S = 30.0


def poll_interval_s(freshness_s: float, flow: Flow = Flow.FLOWING) -> float:
    """The seconds from the start of one listing to the start of the next, for a declared freshness in seconds.

    The interval is half of the freshness. A change is at most one interval old when the next listing starts; the other
    half is for the listing and the later stages. While the downstream groups lag, the interval is four times as long.
    """
    interval_s = max(freshness_s / 2, INTERVAL_MIN_S)
    return interval_s * THROTTLED_FACTOR if flow is Flow.THROTTLED else interval_s


def retry_delay_s(attempt: int, requested_s: float | None, spread: float) -> float:
    """The seconds to wait after `attempt` failures in a row: what the source requested, else an exponential back-off.

    `spread`: a random number in [0, 1). It takes up to half of the back-off away, so that many clients do not retry at
    the same time.
    """
    backoff_s = min(RETRY_FIRST_S * 2.0 ** min(attempt - 1, 16), RETRY_MAX_S)
    delay_s = backoff_s * (0.5 + spread / 2)
    return delay_s if requested_s is None else max(bounded_wait_s(requested_s), min(delay_s, RETRY_FIRST_S))


def bounded_wait_s(requested_s: float) -> float:
    """For how many seconds no request is sent to a source that requested a wait of `requested_s`."""
    return min(requested_s, RETRY_AFTER_MAX_S)


def waits_too_long(wanted_s: float, due_s: float, freshness_s: float) -> bool:
    """Whether a wait that the source requested delays a request by so long that the wait is a fault.

    `due_s`: when the wait ends. `wanted_s`: when the request would be sent without the wait. Both are monotonic.
    """
    return due_s - wanted_s > freshness_s + WAIT_REPORTED_BEYOND_S
