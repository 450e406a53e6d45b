"""merger: all contributions to one entity in, one canonical record out."""

from __future__ import annotations

from sluice.names import MERGER
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings, read_settings
from sluice.stage.commit import KafkaDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.state import StateBackend
from sluice.telemetry import telemetry
from sluice_merger.merger import Merger
from sluice_merger.wiring import merger_topics


def main() -> int:
    settings = read_settings(StageSettings)
    pipeline = load_pipeline(settings.pipeline)
    with telemetry(settings, pipeline.names, MERGER) as health, StateBackend.open(settings, MERGER) as backend:
        names = pipeline.names
        topics = merger_topics(pipeline, settings)
        return Stage(
            name=MERGER,
            settings=settings,
            reader=GroupReader(settings.kafka, names.group(MERGER), settings.instance, topics.read_ids),
            process=Merger(names, pipeline.source_order, topics, backend),
            delivery=KafkaDelivery(settings.kafka, names, MERGER, settings.instance, topics.canonical),
            health=health,
        ).run_until_signalled()
