"""sink-postgres: canonical records in, rows of Postgres tables out, in batches."""

from __future__ import annotations

from sluice.names import SINK_POSTGRES
from sluice.pipeline import load_pipeline
from sluice.settings.stage import read_settings
from sluice.stage.commit import DirectDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.telemetry import telemetry
from sluice_sink_postgres.settings import SinkSettings
from sluice_sink_postgres.wiring import sink_parts


def main() -> int:
    settings = read_settings(SinkSettings)
    pipeline = load_pipeline(settings.pipeline)
    with telemetry(settings, pipeline.names, SINK_POSTGRES) as health:
        parts = sink_parts(pipeline, settings, health)
        return Stage(
            name=SINK_POSTGRES,
            settings=settings,
            reader=GroupReader(settings.kafka, parts.group, settings.instance, parts.topic_ids),
            process=parts.sink,
            delivery=DirectDelivery(settings.kafka, pipeline.names.dlq(SINK_POSTGRES), parts.sink),
            health=health,
        ).run_until_signalled()
