"""What every step of a verification uses: the pipeline as its author wrote it, clients, and the report."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from sluice.entities import EntityContract, Mapping
from sluice.golden.connection import Connection
from sluice.golden.rows import connect_to_read
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.kafka.record import read_records
from sluice.kafka.topics import Topics, require_partitions
from sluice.lag import StageInputs, stage_inputs
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.provenance import RawRef
from sluice.schemas import Registry, make_decoder
from sluice.schemas.decoder import Decode
from sluice.settings.stage import StageSettings
from sluice.stage.dead_letters import origin_of
from sluice.verify.candidates import Candidate
from sluice.verify.report import Report

TIMEOUT_S = 10.0


class OpenSink(NamedTuple):
    """A sink that has started, and a connection to it. `processed`: by partition of canonical, the offset below which
    the sink has processed all records."""

    name: str
    schema: str
    connection: Connection
    processed: AnyMapping[Partition, int]


class DeadLetterOrigins(NamedTuple):
    """The records that a stage parked as dead letters. `expired`: retention may have deleted some dead letters."""

    places: set[RawRef]
    expired: bool


@dataclass(frozen=True)
class VerifyContext:
    """The pipeline, the clients and the results of a verification. `stages`: mapper, merger, then every sink. Every
    step adds to `report` and `candidates`."""

    pipeline: Pipeline
    contracts: dict[str, EntityContract]
    mappings: list[Mapping]
    stages: list[StageInputs]
    kafka: KafkaSettings
    topics: Topics
    reader: LogReader
    decode: Decode
    report: Report = field(default_factory=Report)
    candidates: list[Candidate] = field(default_factory=list)

    @classmethod
    def of(cls, pipeline: Pipeline, settings: StageSettings, opened: ExitStack) -> VerifyContext:
        """Load the entities and mappings, connect to the servers, and check that the topics exist.

        Raises SettingsError if the pipeline cannot be loaded, and EnvironmentFault if a server or topic is missing.
        """
        contracts, mappings = load_entities(pipeline), load_mappings(pipeline)
        stages = stage_inputs(pipeline, mappings, contracts)
        reader = opened.enter_context(LogReader(settings.kafka))
        pinned = reader.pinned([topic for stage in stages for topic in stage.topics])
        require_partitions(pinned, pipeline.partitions)
        registry = Registry(settings.registry.url, settings.state_dir / "schemas")
        opened.callback(registry.close)
        topics, decode = Topics(clients.admin(settings.kafka), TIMEOUT_S), make_decoder(registry.by_id)
        return cls(pipeline, contracts, mappings, stages, settings.kafka, topics, reader, decode)

    def partitions_of(self, topics: tuple[str, ...]) -> list[Partition]:
        """Every partition of `topics`."""
        return [(topic, partition) for topic in topics for partition in range(self.pipeline.partitions)]

    def open_sink(self, stage: StageInputs, processed: AnyMapping[Partition, int], opened: ExitStack) -> OpenSink:
        """Connect to a sink to read its tables. Raises EnvironmentFault if its database refuses the connection."""
        declared = self.pipeline.sinks[stage.sink]
        connection = opened.enter_context(connect_to_read(declared.postgres.reveal(), f"sink {stage.sink}"))
        return OpenSink(stage.sink, declared.schema_, connection, processed)

    def dead_letters(self, stage: str) -> DeadLetterOrigins:
        """Read the origins of all dead letters of a stage."""
        spans = self.reader.spans(self.partitions_of((self.pipeline.names.dlq(stage),)))
        places = {place for one in read_records(self.reader, spans) if (place := origin_of(one)) is not None}
        return DeadLetterOrigins(places, expired=any(start for start, _ in spans.values()))
