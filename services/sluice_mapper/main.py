"""mapper: raw records in, contributions out."""

from __future__ import annotations

from sluice.names import MAPPER
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings, read_settings
from sluice.stage.commit import KafkaDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.state import StateBackend
from sluice.telemetry import telemetry
from sluice_mapper.mapper import Mapper
from sluice_mapper.wiring import mapper_topics


def main() -> int:
    settings = read_settings(StageSettings)
    pipeline = load_pipeline(settings.pipeline)
    with telemetry(settings, pipeline.names, MAPPER) as health, StateBackend.open(settings, MAPPER) as backend:
        names = pipeline.names
        topics = mapper_topics(pipeline, settings)
        return Stage(
            name=MAPPER,
            settings=settings,
            reader=GroupReader(settings.kafka, names.group(MAPPER), settings.instance, topics.read_ids),
            process=Mapper(names, pipeline.partitions, topics, backend),
            delivery=KafkaDelivery(settings.kafka, names, MAPPER, settings.instance),
            health=health,
        ).run_until_signalled()
