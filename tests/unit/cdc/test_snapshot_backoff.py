"""When tables that could not be read are tried again."""

from __future__ import annotations

from sluice_ingress_cdc.session_context import SnapshotBackoff


def test_what_cannot_be_read_is_tried_more_rarely_each_time_until_an_operator_requests_it() -> None:
    backoff = SnapshotBackoff()
    waits = []
    now = 100.0
    for _ in range(6):
        backoff.tried(now)
        waits.append(backoff.retry_at - now)
        now = backoff.retry_at
    assert waits == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    backoff.reset()
    assert backoff.retry_at == 0.0
    backoff.tried(now)
    assert backoff.retry_at - now == 30.0
