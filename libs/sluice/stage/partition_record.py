"""The partition record, which each stage keeps in its state for each input partition.

The record is written in the same transaction as the offset that it contains. At the next start it reveals what the
committed offset alone cannot reveal: a re-created topic, a group that was moved forward, a long absence of the stage,
lost records of a log that the state depends on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.position import LOWEST, Position


def partition_key(partition: int) -> bytes:
    return orjson.dumps({"$partition": partition})


class LogStart(NamedTuple):
    """The id of a log's topic, and the log's first offset (for all partitions of a topic: the sum of their first
    offsets). Compaction does not move the first offset. Retention and the deletion of records move it."""

    topic_id: str
    first: int


@dataclass(slots=True)
class PartitionRecord:
    """What a stage's state says about one input partition.

    * `processed`: the offset that was committed together with this record.
    * `versions`: the versions of the mappings that created the state. `fingerprints`, stored as `rules`: what else the
      state was created with, by name: the code of each mapping; or contract, source order and canonical log.
    * `sweeps`: the position of the newest sweep of each stream. Every record below this position is superseded.
    * `at`: when this record was written (Unix s). `paused_at`: when the owner stopped reading the partition because of
      too many dead letters (Unix s), 0 if it did not stop.
    * `logs`: the start of each log that the state depends on, when this record was written. Keys: `topic/partition`, or
      a topic for all its partitions.
    * `pass_end`: the state was lost, and reading the partition up to this offset rebuilds it; None if it is complete.
    * `streamed`: the highest epoch with a streamed change, and the offset of its first one; None if there is none.
    * `schema_keys`: whether the keys of the partition contain a schema; None if no record was read yet.
    """

    topic_id: str
    processed: int
    versions: dict[str, int] = field(default_factory=dict)
    sweeps: dict[str, Position] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    paused_at: float = 0.0
    logs: dict[str, LogStart] = field(default_factory=dict)
    pass_end: int | None = None
    streamed: tuple[int, int] | None = None
    schema_keys: bool | None = None

    def swept(self, stream: str) -> Position:
        return self.sweeps.get(stream, LOWEST)

    def to_json(self) -> bytes:
        # orjson writes no subclass of tuple, as positions and log starts are: `list` converts them.
        members = {
            "topic_id": self.topic_id,
            "processed": self.processed,
            "versions": self.versions,
            "sweeps": self.sweeps,
            "rules": self.fingerprints,
            "at": time.time(),
            "paused_at": self.paused_at,
            "logs": self.logs,
            "pass_end": self.pass_end,
            **({} if self.streamed is None else {"streamed": self.streamed}),
            **({} if self.schema_keys is None else {"schema_keys": self.schema_keys}),
        }
        return orjson.dumps(members, default=list)

    @classmethod
    def from_json(cls, value: bytes) -> PartitionRecord:
        read = orjson.loads(value)
        sweeps = {stream: Position(*position) for stream, position in read["sweeps"].items()}
        return cls(
            read["topic_id"],
            read["processed"],
            read["versions"],
            sweeps,
            read["rules"],
            read["at"],
            read.get("paused_at", 0.0),
            {log: LogStart(*start) for log, start in read.get("logs", {}).items()},
            read.get("pass_end"),
            tuple(read["streamed"]) if "streamed" in read else None,
            read.get("schema_keys"),
        )


def log_name(at: Partition) -> str:
    """The name of one partition in `PartitionRecord.logs`. A topic's name alone means all its partitions."""
    return f"{at[0]}/{at[1]}"


def topic_of(log: str) -> str:
    """The topic of a name in `PartitionRecord.logs`."""
    return log.partition("/")[0]


def log_starts(reader: LogReader, logs: Iterable[str], pinned: Mapping[str, Pinned]) -> dict[str, LogStart]:
    """The current start of each of `logs` whose topic is `pinned`. Raises Transient or EnvironmentFault."""
    spans = {log: _partitions(log, pinned[topic_of(log)]) for log in logs if topic_of(log) in pinned}
    firsts = reader.beginnings([at for partitions in spans.values() for at in partitions])
    return {
        log: LogStart(pinned[topic_of(log)].topic_id, sum(firsts[at] for at in partitions))
        for log, partitions in spans.items()
    }


def _partitions(log: str, pinned: Pinned) -> list[Partition]:
    topic, _, partition = log.partition("/")
    return [(topic, int(partition))] if partition else [(topic, p) for p in range(pinned.partitions)]
