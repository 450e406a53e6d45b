"""Requests to a source that failed are counted by what it answered."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from sluice_ingress_poller.metrics import count_failure
from sluice_ingress_poller.records import StreamNames

NAMES = StreamNames("shop", "crm", "people", "raw.crm.people", "responses.crm", "dlq.ingress-poller")


@pytest.mark.parametrize(
    ("status", "answer"), [(None, "no-answer"), (200, "refused-page"), (429, "429"), (503, "503"), (401, "401")]
)
def test_a_failure_is_counted_by_the_answer(status: int | None, answer: str) -> None:
    labels = {"source": "crm", "stream": "people", "answer": answer}
    before = REGISTRY.get_sample_value("sluice_source_errors_total", labels) or 0
    count_failure(NAMES, status)
    assert REGISTRY.get_sample_value("sluice_source_errors_total", labels) == before + 1
