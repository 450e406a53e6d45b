"""Builds the sink from the pipeline: canonical topics with their ids, and a golden table for each contract."""

from __future__ import annotations

from typing import NamedTuple

from sluice.golden.sinks import chosen_sink, golden_tables
from sluice.golden.store import GoldenStore
from sluice.kafka import LogReader, clients
from sluice.kafka.topics import Topics, require_partitions
from sluice.names import SINK_POSTGRES
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities
from sluice.schemas import Registry
from sluice.stage.start import StageIdentity
from sluice.telemetry import Health
from sluice_sink_postgres.row_decoder import make_row_decoder
from sluice_sink_postgres.settings import SinkSettings
from sluice_sink_postgres.sink import Sink


class SinkParts(NamedTuple):
    """The sink's process, its consumer group, and the topic ids by canonical topic."""

    group: str
    topic_ids: dict[str, str]
    sink: Sink


def sink_parts(pipeline: Pipeline, settings: SinkSettings, health: Health) -> SinkParts:
    """Build the sink. Raises SettingsError for a mistake of the author, and EnvironmentFault if a topic is missing."""
    name, sink = chosen_sink(pipeline, settings.sink)
    tables = golden_tables(pipeline, sink, load_entities(pipeline))
    pinned = Topics(clients.admin(settings.kafka)).pinned(list(tables))
    require_partitions(pinned, pipeline.partitions)
    group = pipeline.sink_group(name)
    registry = Registry(settings.registry.url, settings.state_dir / "schemas")
    store = GoldenStore(name, sink.postgres.reveal, sink.schema_, tables)
    decoders = {topic: make_row_decoder(registry.by_id, table) for topic, table in tables.items()}
    reader = LogReader(settings.kafka)
    stage = StageIdentity(SINK_POSTGRES, group, pipeline.names.control)
    process = Sink(stage, tables, store, decoders, reader, health)
    return SinkParts(group, {topic: pin.topic_id for topic, pin in pinned.items()}, process)
