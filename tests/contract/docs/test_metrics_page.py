"""The reference of metrics says what is served, and every metric that it names is fed somewhere."""

from __future__ import annotations

import re

from sluice.telemetry import metrics
from support.metrics_page import PAGE, every_metric, page
from support.repository import ROOT


def test_the_page_is_written_from_the_code() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.metrics_page"


def test_every_metric_is_fed() -> None:
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py")]
    fed = {name for file in code for name in re.findall(r"\b([A-Z_]+)\.labels\(", file.read_text())}
    names = {name for name, one in vars(metrics).items() if one in every_metric().values()}
    assert names <= fed
    assert len(names) == len(every_metric())
