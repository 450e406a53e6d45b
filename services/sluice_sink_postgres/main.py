"""sink-postgres: canonical records in, rows of Postgres tables out, in batches."""

from sluice.names import SINK_POSTGRES
from sluice.pipeline import load_pipeline
from sluice.settings.stage import read_settings
from sluice.stage.commit import DirectDelivery
from sluice.stage.group import GroupReader
from sluice.stage.loop import Stage
from sluice.telemetry import telemetry
from sluice_sink_postgres.settings import SinkSettings
from sluice_sink_postgres.wiring import wire


def main() -> int:
    settings = read_settings(SinkSettings)
    with telemetry(settings, SINK_POSTGRES) as health:
        pipeline = load_pipeline(settings.pipeline)
        wired = wire(pipeline, settings, health)
        return Stage(
            name=SINK_POSTGRES,
            settings=settings,
            reader=GroupReader(settings.kafka, wired.group, settings.instance, wired.topic_ids),
            process=wired.sink,
            delivery=DirectDelivery(settings.kafka, pipeline.names.dlq(SINK_POSTGRES), wired.sink),
            health=health,
        ).run_until_signalled()
