"""Every alert uses metrics and labels that exist, and its runbook exists."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from support.metrics_page import every_metric
from support.repository import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]


@pytest.mark.parametrize("alert", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_reads_metrics_and_labels_that_exist_and_names_a_page_that_exists(alert: dict[str, Any]) -> None:
    names = re.findall(r"sluice_\w+", alert["expr"])
    assert names
    assert set(names) <= set(every_metric())
    labels = {label for name in names for label in every_metric()[name]._labelnames}
    by = re.search(r"by \(([^)]*)\)", alert["expr"])
    used = {name.strip() for name in by.group(1).split(",")} if by else set()
    used |= set(re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"]))
    assert used <= labels
    page, _, heading = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert not heading or heading in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_each_alert_is_tested_and_prometheus_loads_them() -> None:
    tested = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tested for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in ALERTS}
    assert yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"] == ["alerts.yml"]
    compose = (ROOT / "docker-compose.yml").read_text()
    assert "./deploy/prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in compose
