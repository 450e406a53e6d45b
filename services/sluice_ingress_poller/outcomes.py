"""Metrics of what became of polled records."""

from __future__ import annotations

from sluice.codes import classify_http
from sluice.errors import DeadRecord
from sluice.names import INGRESS_POLLER
from sluice.stage.dead_letters import cause_of
from sluice.telemetry.metrics import DEAD_LETTERS, RECORDS, SOURCE_ERRORS
from sluice_ingress_poller.passes import Decision
from sluice_ingress_poller.records import Names


def count_page(names: Names, decision: Decision) -> None:
    """Count the records of a page by outcome: published, unchanged, conflicting, deleted, dead."""
    counts = {
        "published": len(decision.news.upserts),
        "unchanged": decision.news.unchanged,
        "conflicting": decision.news.conflicting,
        "deleted": len(decision.deletes),
        "dead": len(decision.news.parked),
    }
    for outcome, count in counts.items():
        RECORDS.labels(INGRESS_POLLER, names.raw_topic, outcome).inc(count)


def count_failure(names: Names, status: int | None) -> None:
    """Count a request that failed. `status`: of the answer, None where there was none; a page that was refused although
    it came with success is told as such."""
    answer = "no-answer" if status is None else str(status) if classify_http(status) is not None else "refused-page"
    SOURCE_ERRORS.labels(names.source, names.stream, answer).inc()


def count_parked(decision: Decision) -> None:
    for parked in decision.news.parked:
        DEAD_LETTERS.labels(INGRESS_POLLER, cause_of(INGRESS_POLLER, DeadRecord(parked.code, parked.reason))).inc()
