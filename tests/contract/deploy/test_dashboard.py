"""The dashboard: each query asks for metrics that stages have, by labels that those metrics carry."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from sluice.telemetry import metrics
from support.repository import ROOT

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = orjson.loads((GRAFANA / "dashboards" / "lag.json").read_bytes())
QUERIES = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def series() -> dict[str, set[str]]:
    """Every series that a stage can serve, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if not isinstance(metric, MetricWrapperBase):
            continue
        (family,) = metric.describe()
        labels = set(metric._labelnames)
        if family.type == "counter":
            found[f"{family.name}_total"] = labels
        elif family.type == "histogram":
            found |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found


@pytest.mark.parametrize(("title", "expression", "legend"), QUERIES)
def test_a_query_asks_for_what_is_served(title: str, expression: str, legend: str) -> None:
    asked = set(re.findall(r"\bsluice_\w+", expression))
    assert asked, title
    assert asked <= set(series()), f"{title}: no such metric"
    carried = set.intersection(*(series()[name] for name in asked))
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(",")}
    assert grouped <= carried, f"{title}: {expression}"
    assert set(re.findall(r"{{(\w+)}}", legend)) <= grouped, f"{title}: {legend}"


def test_lag_is_shown_in_records_and_in_seconds() -> None:
    asked = " ".join(expression for _, expression, _ in QUERIES)
    assert "sluice_lag_records" in asked
    assert "sluice_lag_seconds" in asked


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_is_provisioned_from_where_it_is_mounted() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    mounts = dict(mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"])
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/sluice.yml").read_text("utf-8"))["providers"][0]
    assert mounts["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_panels_ask_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text("utf-8"))
    (source,) = provisioned["datasources"]
    for panel in DASHBOARD["panels"]:
        asked = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert asked == [{"type": source["type"], "uid": source["uid"]}] * len(asked)
