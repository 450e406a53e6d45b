"""The telemetry of a stage process: its logs, health, metrics, and its faults, which it writes to Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from sluice.errors import Bug, SluiceError
from sluice.kafka.watch import KafkaWatch, silence_text
from sluice.names import Names
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
def telemetry(settings: StageSettings, names: Names, stage: str) -> Iterator[Health]:
    """While the block runs: configure logs, serve `/healthz`, `/readyz` and `/metrics`, and write the stage's faults to
    Kafka.

    Yields the Health that the stage reports to. If an exception ends the block, it is reported as a fault. Raises
    SettingsError if a setting of the stage is wrong.
    """
    configure_logs(stage)
    require_writable(settings.state_dir)
    writer = FaultWriter(settings.kafka, names.faults, stage, settings.process_name)

    def on_change(about: str, fault: ActiveFault | None) -> None:
        set_fault_metric(stage, about, fault)
        writer.buffer.changed(about, fault)

    health = Health(on_change=on_change)
    suffix = "" if settings.instance == "0" else f".{settings.instance}"
    run_file = settings.state_dir / "run" / f"{stage}{suffix}.json"
    server = TelemetryServer(settings.telemetry.host, settings.telemetry.port, health, run_file)

    def silent(for_s: float) -> None:
        if KAFKA in health.faults:
            log.error("fault still active", about=KAFKA, why=silence_text(settings.kafka), for_s=round(for_s))
        health.fault(KAFKA, silence_text(settings.kafka))

    watch = KafkaWatch(settings.kafka, names.faults, silent, lambda: health.resolve(KAFKA))
    writer.start(health)
    watch.start()
    try:
        yield health
    except Exception as error:
        health.fault(PROCESS, end_of_process(error))
        raise
    finally:
        watch.close()
        writer.close()
        server.close()
        for about in health.active:
            set_fault_metric(stage, about, None)


def set_fault_metric(stage: str, about: str, fault: ActiveFault | None) -> None:
    """Set the metric `sluice_fault` of a fault's subject (`about`) to 1 if there is a `fault`; remove it if `fault` is
    None."""
    if fault is None:
        with suppress(KeyError):
            FAULT.remove(stage, about)
    elif fault.is_failure:
        FAULT.labels(stage, about).set(1)


def end_of_process(error: Exception) -> str:
    """The text that says why a process ended. It omits the text of an exception from outside Sluice, because that may
    quote a record."""
    if isinstance(error, SluiceError):
        return f"the process ended: {error}"
    reason = f"Bug: {error}" if isinstance(error, Bug) else type(error).__name__
    return f"a bug in Sluice ended the process ({reason}). Next: restart it; if it ends again, report its log"
