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
from sluice_merger.wiring import inputs_of


def main() -> int:
    settings = read_settings(StageSettings)
    with telemetry(settings, MERGER) as health:
        pipeline = load_pipeline(settings.pipeline)
        names = pipeline.names
        inputs = inputs_of(pipeline, settings)
        topic_ids = {topic: one.topic_id for topic, one in inputs.items()}
        tracked = [one.canonical_topic for one in inputs.values()]
        return Stage(
            name=MERGER,
            settings=settings,
            reader=GroupReader(settings.kafka, names.group(MERGER), settings.instance, topic_ids),
            process=Merger(names, pipeline.source_order, inputs, StateBackend.open(settings, MERGER)),
            delivery=KafkaDelivery(settings.kafka, names, MERGER, settings.instance, tracked),
            health=health,
        ).run_until_signalled()
