"""The topics that a mapper reads and writes, and the check that its mappings' versions may read a partition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from sluice.entities import Mapping
from sluice.errors import EnvironmentFault, Outdated
from sluice.kafka.record import Record
from sluice.kafka.topics import Pinned
from sluice.mapping_code import code_of
from sluice.pipeline import SourceStream
from sluice.position import Position
from sluice.raw.raw_record import SourceChange, read_followed, read_polled
from sluice.stage.process import Owned
from sluice_mapper.avro_records import AvroRecords
from sluice_mapper.schema_sample import SchemaSample


@dataclass(frozen=True)
class RawInput:
    """One raw topic that the mapper reads.

    `topic_id` is the raw topic's id, `state_topic_id` that of `state_topic`. `sample` compares some of the raw records
    with a JSON Schema; None if the stream has no schema. `avro` reads records in Avro; None for polled streams.
    """

    stream: SourceStream
    mappings: tuple[Mapping, ...]
    topic_id: str
    state_topic: str
    state_topic_id: str
    sample: SchemaSample | None = None
    avro: AvroRecords | None = None

    @cached_property
    def is_cdc(self) -> bool:
        return self.stream.kind == "cdc"

    @cached_property
    def read(self) -> Callable[[Record, str, Position], SourceChange]:
        """Reads a record with its source key and position. Raises DeadRecord."""
        return read_followed if self.is_cdc else read_polled

    @property
    def versions(self) -> dict[str, tuple[int, int]]:
        return {m.name: (m.version, m.entity.version) for m in self.mappings}

    def require_versions(self, owned: Owned) -> None:
        """Raises Outdated if a newer version of a mapping is in force in the partition than this process has. Raises
        EnvironmentFault if the code of a mapping changed and the mapping's version did not."""
        for mapping in self.mappings:
            in_force = owned.record.versions.get(mapping.name, 0)
            where = f"mapping {mapping.name}, {owned.at[0]}/{owned.at[1]}"
            if mapping.version < in_force:
                raise Outdated(
                    f"{where}: version {in_force} is in force, this process has {mapping.version}. "
                    "Next: run the newer code; to go back to old code, give it a version above the one in force"
                )
            code = code_of(mapping)
            if mapping.version == in_force and owned.record.fingerprints.get(mapping.name, code.sha256) != code.sha256:
                raise EnvironmentFault(
                    where,
                    f"its code changed and its version is still {in_force}; its code is {code}",
                    f"raise the mapping's version above {in_force} ({mapping.at}), or undo the change",
                )


class MapperTopics(NamedTuple):
    """`by_topic`: the inputs by raw topic. `outputs`: the contributions topics of all entities, by name."""

    by_topic: dict[str, RawInput]
    outputs: dict[str, Pinned]

    @property
    def read_ids(self) -> dict[str, str]:
        """Ids of the topics that the mapper reads."""
        return {topic: one.topic_id for topic, one in self.by_topic.items()}

    @property
    def written_ids(self) -> dict[str, str]:
        """Ids of the topics that the mapper writes: state and contributions."""
        states = {one.state_topic: one.state_topic_id for one in self.by_topic.values()}
        return states | {topic: pinned.topic_id for topic, pinned in self.outputs.items()}
