"""Metrics of polled records and failed requests."""

from __future__ import annotations

from sluice.error_policies import classify_http
from sluice.errors import DeadRecord
from sluice.names import INGRESS_POLLER
from sluice.stage.dead_letters import cause_of
from sluice.telemetry.metrics import DEAD_LETTERS, RECORDS, SOURCE_ERRORS
from sluice_ingress_poller.listing import Decision
from sluice_ingress_poller.records import StreamNames


def count_page(names: StreamNames, decision: Decision) -> None:
    """Count the records of a published page by outcome, and its dead letters by cause."""
    changes = decision.changes
    counts = {
        "published": len(changes.upserts),
        "unchanged": changes.unchanged,
        "conflicting": changes.conflicting,
        "deleted": len(decision.deletes),
        "dead": len(changes.parked),
    }
    for outcome, count in counts.items():
        RECORDS.labels(INGRESS_POLLER, names.raw_topic, outcome).inc(count)
    for parked in changes.parked:
        DEAD_LETTERS.labels(INGRESS_POLLER, cause_of(INGRESS_POLLER, DeadRecord(parked.code, parked.reason))).inc()


def count_failure(names: StreamNames, status: int | None) -> None:
    """Count a failed request. `status`: the status of its answer, None if no answer arrived.

    A page that was refused although its status is a success is counted as `refused-page`.
    """
    answer = "no-answer" if status is None else str(status) if classify_http(status) is not None else "refused-page"
    SOURCE_ERRORS.labels(names.source, names.stream, answer).inc()
