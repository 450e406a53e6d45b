"""`docs/reference/metrics.md`, written from the metrics themselves.

`PYTHONPATH=tests python -m support.metrics_page` writes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from sluice.telemetry import metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"

_HEAD = """# Metrics

Every stage serves `/metrics` for Prometheus at `SLUICE_TELEMETRY__HOST` and `SLUICE_TELEMETRY__PORT`, together with
`/readyz` and `/healthz`. The table lists all metrics of Sluice; the client library adds metrics of the process and of
Python. A name ends with its unit, or with `_total` for a counter. No label contains a key or a value of a record.

| metric | type | labels | what |
|---|---|---|---|
"""


def page() -> str:
    """The page that fits the code."""
    return _HEAD + "".join(f"{row}\n" for row in _rows())


def every_metric() -> dict[str, Counter | Gauge | Histogram]:
    """All metrics by their served name."""
    found = [one for one in vars(metrics).values() if isinstance(one, Counter | Gauge | Histogram)]
    return {_name(one): one for one in found}


def _name(metric: Counter | Gauge | Histogram) -> str:
    (family,) = metric.describe()
    return f"{family.name}_total" if isinstance(metric, Counter) else family.name


def _rows() -> Iterator[str]:
    for name, metric in sorted(every_metric().items()):
        (family,) = metric.describe()
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


if __name__ == "__main__":
    PAGE.write_text(page())
