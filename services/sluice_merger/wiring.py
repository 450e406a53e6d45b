"""The merger's topics, from the pipeline: ids pinned, schema ids looked up."""

from __future__ import annotations

from sluice.kafka import clients
from sluice.kafka.topics import Topics, require_partitions
from sluice.names import MERGER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities
from sluice.schemas import Registry, avro_schema, make_encoder
from sluice.settings.stage import StageSettings
from sluice_merger.merger import EntityInput


def inputs_of(pipeline: Pipeline, settings: StageSettings) -> dict[str, EntityInput]:
    """Inputs by contributions topic. Raises SettingsError or EnvironmentFault (topic or schema missing)."""
    names = pipeline.names
    contracts = load_entities(pipeline)
    topics = {e: (names.contributions(e), names.canonical(e)) for e in contracts}
    states = {e: names.state(MERGER, topics[e][0]) for e in contracts}
    pinned = Topics(clients.admin(settings.kafka)).pinned(
        [*(t for pair in topics.values() for t in pair), *states.values()]
    )
    require_partitions(pinned, pipeline.partitions)
    registry = Registry(settings.registry.url, settings.state_dir / "schemas")
    inputs = {}
    for entity, contract in contracts.items():
        contributions, canonical = topics[entity]
        schema_id = registry.lookup_id(f"{canonical}-value", avro_schema(contract, pipeline.pipeline))
        inputs[contributions] = EntityInput(
            contract,
            make_encoder(contract, schema_id),
            pinned[contributions].topic_id,
            canonical,
            pinned[canonical].topic_id,
            states[entity],
            pinned[states[entity]].topic_id,
        )
    return inputs
