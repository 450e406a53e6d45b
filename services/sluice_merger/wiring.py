"""Finds the merger's topics and their ids from the pipeline, and the ids of its Avro schemas in the registry."""

from __future__ import annotations

from sluice.kafka import clients
from sluice.kafka.topics import Topics, require_partitions
from sluice.names import MERGER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities
from sluice.schemas import Registry, avro_schema, make_encoder
from sluice.settings.stage import StageSettings
from sluice_merger.inputs import EntityInput, MergerTopics


def merger_topics(pipeline: Pipeline, settings: StageSettings) -> MergerTopics:
    """The merger's topics, with contract and encoder of each entity.

    Raises SettingsError for a mistake of the author, and EnvironmentFault if a topic or a schema is missing.
    """
    names = pipeline.names
    contracts = load_entities(pipeline)
    topics = {
        entity: (names.contributions(entity), names.canonical(entity), names.state(MERGER, names.contributions(entity)))
        for entity in contracts
    }
    pinned = Topics(clients.admin(settings.kafka)).pinned([topic for three in topics.values() for topic in three])
    require_partitions(pinned, pipeline.partitions)
    registry = Registry(settings.registry.url, settings.state_dir / "schemas")
    inputs = {}
    for entity, (contributions, canonical, state) in topics.items():
        contract = contracts[entity]
        schema_id = registry.lookup_id(f"{canonical}-value", avro_schema(contract, pipeline.pipeline))
        inputs[contributions] = EntityInput(
            contract,
            make_encoder(contract, schema_id),
            pinned[contributions].topic_id,
            canonical,
            pinned[canonical].topic_id,
            state,
            pinned[state].topic_id,
        )
    return MergerTopics(inputs)
