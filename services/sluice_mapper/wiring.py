"""What the mapper reads, from the pipeline: raw topics with their mappings and state topics, ids pinned."""

from __future__ import annotations

from sluice.connector import json_text
from sluice.kafka import clients
from sluice.kafka.topics import Topics
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_mappings
from sluice.pipeline.examples import require_examples_mapped
from sluice.stage.pinning import require_partitions
from sluice.stage.settings import StageSettings
from sluice_mapper.mapper import Input


def inputs_of(pipeline: Pipeline, settings: StageSettings) -> tuple[dict[str, Input], dict[str, str]]:
    """Inputs by raw topic, and the topics' ids. Streams that no mapping reads are not consumed.

    Raises SettingsError for the author's mistakes, EnvironmentFault for topics that are missing or differ.
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
    outputs = {names.contributions(m.entity.name) for m in mappings}
    pinned = Topics(clients.admin(settings.kafka)).pinned([*read, *states.values(), *outputs])
    require_partitions(pinned, pipeline.partitions)
    inputs = {
        topic: Input(stream, found, states[topic], pinned[states[topic]].topic_id)
        for topic, (stream, found) in read.items()
    }
    return inputs, {topic: pinned[topic].topic_id for topic in inputs}
