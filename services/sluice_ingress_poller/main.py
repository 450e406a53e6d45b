"""ingress-poller: polls source APIs and publishes each record verbatim."""

from __future__ import annotations

from sluice.names import INGRESS_POLLER
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_connector
from sluice.settings.stage import read_settings
from sluice.telemetry import telemetry
from sluice_ingress_poller.polled_stream import polled_streams
from sluice_ingress_poller.poller import Poller
from sluice_ingress_poller.settings import PollerSettings


def main() -> int:
    settings = read_settings(PollerSettings)
    pipeline = load_pipeline(settings.pipeline)
    streams = polled_streams(pipeline, settings.poller, load_connector)
    with (
        telemetry(settings, pipeline.names, INGRESS_POLLER) as health,
        Poller(settings, pipeline, streams, health) as poller,
    ):
        return poller.run_until_signalled()
