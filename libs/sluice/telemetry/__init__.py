"""Telemetry of a stage: logs, health, metrics, and its faults in Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from sluice.errors import Bug, SluiceError
from sluice.kafka.watch import KafkaWatch, silence_of
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings, require_writable
from sluice.telemetry.fault_writer import FaultWriter
from sluice.telemetry.health import PROCESS, ActiveFault, Health
from sluice.telemetry.logs import configure_logs
from sluice.telemetry.metrics import FAULT
from sluice.telemetry.server import TelemetryServer

__all__ = ["Health", "telemetry"]

KAFKA = "Kafka"

log = structlog.get_logger()


@contextmanager
def telemetry(settings: StageSettings, stage: str) -> Iterator[Health]:
    """Logs configured, `/healthz`, `/readyz`, `/metrics` served and faults written for as long as the stage runs.

    What ends the stage is its last fault. Raises SettingsError.
    """
    configure_logs(stage)
    require_writable(settings.state_dir)
    names = load_pipeline(settings.pipeline).names
    writer = FaultWriter(settings.kafka, names.faults, stage, settings.process_name)

    def told(about: str, active: ActiveFault | None) -> None:
        measured(stage, about, active)
        writer.notes.told(about, active)

    health = Health(on_change=told)
    suffix = "" if settings.instance == "0" else f".{settings.instance}"
    run_file = settings.state_dir / "run" / f"{stage}{suffix}.json"
    server = TelemetryServer(settings.telemetry.host, settings.telemetry.port, health, run_file)

    def silent(for_s: float) -> None:
        if KAFKA in health.faults:
            log.error("fault stands", about=KAFKA, why=silence_of(settings.kafka), for_s=round(for_s))
        health.fault(KAFKA, silence_of(settings.kafka))

    watch = KafkaWatch(settings.kafka, names.faults, silent, lambda: health.resolve(KAFKA))
    writer.start(health)
    watch.start()
    try:
        yield health
    except Exception as error:
        health.fault(PROCESS, ended_by(error))
        raise
    finally:
        watch.close()
        writer.close()
        server.close()
        for about in health.active:
            measured(stage, about, None)


def measured(stage: str, about: str, active: ActiveFault | None) -> None:
    """The metric follows: 1 while a fault stands, and gone with it."""
    if active is None:
        try:
            FAULT.remove(stage, about)
        except KeyError:
            return
    elif active.is_failure:
        FAULT.labels(stage, about).set(1)


def ended_by(error: Exception) -> str:
    """Why a process ended, without the words of others: they may quote a record."""
    if isinstance(error, SluiceError):
        return f"it ended: {error}"
    told = f"Bug: {error}" if isinstance(error, Bug) else type(error).__name__
    return f"a bug of ours ended it ({told}). Next: start it again; if it ends again, its log has the frames to report"
