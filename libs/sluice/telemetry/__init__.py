"""Telemetry of a stage: logs, health, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sluice.stage.settings import StageSettings
from sluice.telemetry.health import Health
from sluice.telemetry.logs import configure_logs
from sluice.telemetry.server import TelemetryServer

__all__ = ["Health", "telemetry"]


@contextmanager
def telemetry(settings: StageSettings, stage: str) -> Iterator[Health]:
    """Logs configured and `/healthz`, `/readyz`, `/metrics` served for as long as the stage runs."""
    configure_logs(stage)
    health = Health()
    suffix = "" if settings.instance == "0" else f".{settings.instance}"
    run_file = settings.state_dir / "run" / f"{stage}{suffix}.json"
    server = TelemetryServer(settings.telemetry.host, settings.telemetry.port, health, run_file)
    try:
        yield health
    finally:
        server.close()
