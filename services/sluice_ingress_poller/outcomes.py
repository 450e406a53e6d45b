"""Metrics of what became of polled records."""

from __future__ import annotations

from sluice.errors import DeadRecord
from sluice.names import INGRESS_POLLER
from sluice.stage.dead_letters import cause_of
from sluice.telemetry.metrics import DEAD_LETTERS, RECORDS
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


def count_parked(decision: Decision) -> None:
    for parked in decision.news.parked:
        DEAD_LETTERS.labels(INGRESS_POLLER, cause_of(INGRESS_POLLER, DeadRecord(parked.code, parked.reason))).inc()
