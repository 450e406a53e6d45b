"""Finds the mapper's topics and their ids from the pipeline: raw topics with their mappings, and state topics."""

from __future__ import annotations

from pathlib import Path

import structlog

from sluice import json_text
from sluice.json_schema import JsonSchema
from sluice.kafka import clients
from sluice.kafka.topics import Topics, require_partitions
from sluice.names import MAPPER
from sluice.pipeline import Pipeline, SourceStream
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.pipeline.examples import require_examples_mapped
from sluice.pipeline.record_schemas import record_schema
from sluice.settings.stage import StageSettings
from sluice_mapper.avro_records import AvroRecords
from sluice_mapper.inputs import MapperTopics, RawInput
from sluice_mapper.schema_sample import SchemaSample

log = structlog.get_logger()


def mapper_topics(pipeline: Pipeline, settings: StageSettings) -> MapperTopics:
    """The mapper's topics. A stream that no mapping reads is not consumed.

    Raises SettingsError for a mistake of the author, and EnvironmentFault if a topic is missing or has another number
    of partitions than the pipeline.
    """
    names = pipeline.names
    mappings = load_mappings(pipeline)
    require_examples_mapped(pipeline, mappings, json_text.decode)
    read = {
        names.raw(s.source, s.stream): (s, tuple(m for m in mappings if (m.source, m.stream) == (s.source, s.stream)))
        for s in pipeline.streams()
    }
    read = {topic: pair for topic, pair in read.items() if pair[1]}
    states = {topic: names.state(MAPPER, topic) for topic in read}
    # The topics of all entities, also of those without a mapping: claims of a mapping that was removed must be found.
    outputs = [names.contributions(entity) for entity in load_entities(pipeline)]
    pinned = Topics(clients.admin(settings.kafka)).pinned([*read, *states.values(), *outputs])
    require_partitions(pinned, pipeline.partitions)
    avro = AvroRecords(settings)
    samples = {topic: _sample(pipeline, stream, settings.schemas_dir) for topic, (stream, _) in read.items()}
    inputs = {
        topic: RawInput(
            stream,
            found,
            pinned[topic].topic_id,
            states[topic],
            pinned[states[topic]].topic_id,
            samples[topic],
            avro if stream.kind == "cdc" else None,
        )
        for topic, (stream, found) in read.items()
    }
    return MapperTopics(inputs, {topic: pinned[topic] for topic in outputs})


def _sample(pipeline: Pipeline, stream: SourceStream, schemas: Path) -> SchemaSample | None:
    if stream.kind == "cdc":
        file = schemas / "debezium" / "envelope.schema.json"
        if not file.is_file():
            log.warning("change events are not compared with their schema: set SLUICE_SCHEMAS_DIR", missing=str(file))
            return None
        return SchemaSample(JsonSchema(file))
    schema = record_schema(pipeline, stream.source, stream.stream)
    return None if schema is None else SchemaSample(schema)
