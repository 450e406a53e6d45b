"""The metric `sluice_cdc_table`: 1 for the current state of a table, 0 for the other states."""

from __future__ import annotations

from prometheus_client import REGISTRY

from sluice.cdc.watermarks import BLOCKED, TableWatermark
from sluice.pipeline import Secret
from sluice.telemetry.health import Health
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.tables import FollowedTables

STATES = ("pending", "followed", "blocked", "held")
SLOT = SlotSettings("metric", Secret(env="DSN"), "slot", "publication", True, ("public.a",), 10.0)


def test_the_metric_calls_a_blocked_table_blocked() -> None:
    FollowedTables(SLOT, {"public.a": TableWatermark(BLOCKED, why="it does not exist any more")}, Health())
    states = {state: REGISTRY.get_sample_value("sluice_cdc_table", _labels(state)) for state in STATES}
    assert states == {"pending": 0, "followed": 0, "blocked": 1, "held": None}


def _labels(state: str) -> dict[str, str]:
    return {"source": "metric", "table": "public.a", "state": state}
