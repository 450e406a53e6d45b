"""ingress-cdc: Postgres replication slots in, Debezium change events out."""

from __future__ import annotations

from sluice.names import INGRESS_CDC
from sluice.pipeline import load_pipeline
from sluice.settings.stage import read_settings
from sluice.stage.signals import Stop
from sluice.telemetry import telemetry
from sluice_ingress_cdc.follower import Follower
from sluice_ingress_cdc.settings import CdcSettings, slots_of
from sluice_ingress_cdc.supervisor import supervise


def main() -> int:
    settings = read_settings(CdcSettings)
    pipeline = load_pipeline(settings.pipeline)
    with telemetry(settings, pipeline.names, INGRESS_CDC) as health:
        followers = [Follower(slot, pipeline.names, settings, health) for slot in slots_of(pipeline)]
        return supervise(followers, health, Stop.on_signals())
