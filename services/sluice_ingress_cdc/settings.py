"""Settings of ingress-cdc: `SLUICE_*`."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from sluice.cdc.slots import publication_of, slot_of
from sluice.pipeline import Pipeline, Secret
from sluice.settings.stage import StageSettings


class CdcSettings(StageSettings):
    """What ingress-cdc is told beside what every stage is."""

    linger_s: float = Field(default=0.2, ge=0, description="How long changes are collected for one transaction.")
    feedback_interval_s: float = Field(
        default=1.0, gt=0, description="How often the source is told how far its log may go."
    )
    watermark_interval_s: float = Field(
        default=5.0, gt=0, description="How often the place in the log is stored while nothing is published."
    )
    watch_interval_s: float = Field(
        default=5.0, gt=0, description="How often followed tables are compared with what their records were made from."
    )
    recheck_interval_s: float = Field(
        default=5.0, gt=0, description="How long to wait before a source that refused is asked again."
    )
    record_bytes_max: int = Field(
        default=8 * 1024 * 1024 - 4_096, gt=0, description="What a raw topic takes of one record."
    )


@dataclass(frozen=True, slots=True)
class SlotSettings:
    """One source that is followed through one slot. `publication_is_ours`: the pipeline file names no other."""

    source: str
    dsn: Secret
    slot: str
    publication: str
    publication_is_ours: bool
    tables: tuple[str, ...]
    heartbeat_s: float

    @property
    def where(self) -> str:
        return f"source {self.source}"


def slots_of(pipeline: Pipeline) -> list[SlotSettings]:
    """The slots that `pipeline` follows; slot and publication are called `sluice_<prefix><pipeline>_<source>`."""
    return [
        SlotSettings(
            source=name,
            dsn=source.dsn,
            slot=slot_of(pipeline, name),
            publication=publication_of(pipeline, name),
            publication_is_ours=source.publication is None,
            tables=tuple(source.tables),
            heartbeat_s=source.heartbeat,
        )
        for name, source in pipeline.cdc_sources().items()
    ]
