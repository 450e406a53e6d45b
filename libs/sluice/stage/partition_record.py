"""The partition record, which each stage keeps in its state for each partition, and the logs that the state needs.

The record is written in the same transaction as the offsets that it describes. It shows what the committed offset alone
cannot show: a re-created topic, a group that was moved forward, a long absence.
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
    """Which log it is, and how much of it is gone: the topic's id, and its first offset (the sum of them, where it is
    about all partitions). Compaction moves no first offset; deleting records and retention do."""

    topic_id: str
    first: int


@dataclass(slots=True)
class PartitionRecord:
    """`processed`: the committed offset that it was written with; `versions` and `rules`: of what code made the state;
    `sweeps`: the newest sweep of each stream, below which everything is superseded; `paused_at`: when its owner
    stopped reading it for too many dead letters (Unix s), 0 if it did not.

    `logs`: those besides the input that must be whole for the state to be true, `topic/partition` or a whole topic,
    as they were then. `pass_end`: the state was lost, and is found again by reading the partition up to there.
    """

    topic_id: str
    processed: int
    versions: dict[str, int] = field(default_factory=dict)
    sweeps: dict[str, Position] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    paused_at: float = 0.0
    logs: dict[str, LogStart] = field(default_factory=dict)
    pass_end: int | None = None

    def swept(self, stream: str) -> Position:
        return self.sweeps.get(stream, LOWEST)

    def to_json(self) -> bytes:
        return orjson.dumps(
            {
                "topic_id": self.topic_id,
                "processed": self.processed,
                "versions": self.versions,
                "sweeps": {stream: list(position) for stream, position in self.sweeps.items()},
                "rules": self.rules,
                "at": time.time(),
                "paused_at": self.paused_at,
                "logs": {log: list(start) for log, start in self.logs.items()},
                "pass_end": self.pass_end,
            }
        )

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
        )


def log_name(at: Partition) -> str:
    """One partition, as a partition record names it among its logs; a topic's name alone means all of them."""
    return f"{at[0]}/{at[1]}"


def topic_of(log: str) -> str:
    """The topic of a log that a partition record names."""
    return log.partition("/")[0]


def logs_now(reader: LogReader, logs: Iterable[str], pinned: Mapping[str, Pinned]) -> dict[str, LogStart]:
    """How `logs` stand now, as far as their topics are `pinned`. Raises Transient or EnvironmentFault."""
    spans = {log: _partitions(log, pinned[topic_of(log)]) for log in logs if topic_of(log) in pinned}
    firsts = reader.beginnings([at for partitions in spans.values() for at in partitions])
    return {
        log: LogStart(pinned[topic_of(log)].topic_id, sum(firsts[at] for at in partitions))
        for log, partitions in spans.items()
    }


def _partitions(log: str, pinned: Pinned) -> list[Partition]:
    topic, _, partition = log.partition("/")
    return [(topic, int(partition))] if partition else [(topic, p) for p in range(pinned.partitions)]
