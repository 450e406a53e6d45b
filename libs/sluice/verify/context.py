"""What a verification looks at: the pipeline as its author wrote it, clients, and where findings go."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from sluice.entities import EntityContract, Mapping
from sluice.golden.connection import Connection
from sluice.golden.rows import connect_to_read
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics, require_partitions
from sluice.lag import StageInputs, stage_inputs
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.schemas import Registry, make_decoder
from sluice.schemas.decoder import Decode
from sluice.settings.stage import StageSettings
from sluice.verify.candidates import Candidate
from sluice.verify.reading import DeadLetterOrigins
from sluice.verify.report import Report


class OpenSink(NamedTuple):
    """A sink that has begun, and a connection to it."""

    name: str
    group: str
    schema: str
    connection: Connection


@dataclass(frozen=True)
class VerifyContext:
    """`stages`: mapper, merger, then every sink. `report` and `candidates` are added to by every step."""

    pipeline: Pipeline
    contracts: dict[str, EntityContract]
    mappings: list[Mapping]
    stages: list[StageInputs]
    kafka: KafkaSettings
    admin: AdminClient
    reader: LogReader
    decode: Decode
    report: Report
    candidates: list[Candidate]

    @classmethod
    def of(cls, pipeline: Pipeline, settings: StageSettings, opened: ExitStack) -> VerifyContext:
        """Load what the author wrote, connect, and pin the topics. Raises SettingsError, EnvironmentFault."""
        contracts, mappings = load_entities(pipeline), load_mappings(pipeline)
        stages = stage_inputs(pipeline, mappings, contracts)
        admin = clients.admin(settings.kafka)
        pinned = Topics(admin).pinned([topic for stage in stages for topic in stage.topics])
        require_partitions(pinned, pipeline.partitions)
        registry = Registry(settings.registry.url, settings.state_dir / "schemas")
        opened.callback(registry.close)
        reader = opened.enter_context(LogReader(settings.kafka))
        decode = make_decoder(registry.by_id)
        return cls(pipeline, contracts, mappings, stages, settings.kafka, admin, reader, decode, Report(), [])

    def partitions_of(self, stage: StageInputs) -> list[Partition]:
        """Every input partition of a stage."""
        return [(topic, partition) for topic in stage.topics for partition in range(self.pipeline.partitions)]

    def open_sink(self, stage: StageInputs, opened: ExitStack) -> OpenSink:
        """Connect to a sink, for reading. Raises EnvironmentFault."""
        declared = self.pipeline.sinks[stage.sink]
        connection = opened.enter_context(connect_to_read(declared.postgres.reveal(), f"sink {stage.sink}"))
        return OpenSink(stage.sink, stage.group, declared.schema_, connection)

    def dead_letters(self, stage: str) -> DeadLetterOrigins:
        """Where the dead letters of a stage come from."""
        return DeadLetterOrigins(self.reader, self.pipeline.names, stage, self.pipeline.partitions)
