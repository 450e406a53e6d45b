"""The workforce example on the session's servers, with small sources.

Two partitions, so that a few thousand records make partitions longer than what a partial rewind reads again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sluice.embedded import Servers
from support.example_pipeline import example_pipeline
from support.scenario import EXAMPLE, Scenario

PARTITIONS = 2


@contextmanager
def workforce_pipeline(
    servers: Servers,
    directory: Path,
    workers: int,
    ledger_entries: int,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Scenario]:
    """Run the example with sources of that size: every stage runs, and the golden tables equal the sources."""
    sizes = {"WORKFORCE_WORKERS": str(workers), "WORKFORCE_LEDGER_ENTRIES": str(ledger_entries)}
    with example_pipeline(EXAMPLE, servers, directory, _change, sizes, settings) as scenario:
        yield scenario


def _change(pipeline: dict[str, Any]) -> None:
    pipeline["partitions"] = PARTITIONS
    pipeline["sources"]["hr"]["streams"]["workers"] = {"freshness": "2s", "enumerate_every": "4s"}
