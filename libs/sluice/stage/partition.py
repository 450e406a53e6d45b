"""The partition record, and the decision where an owner of a partition begins to read.

The record stands in every stage's state and is written in the transaction of the offsets it speaks of. It shows what
the committed offset alone cannot: a re-created topic, a group that was moved forward, a long absence.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import orjson

from sluice.errors import EnvironmentFault
from sluice.kafka.log import Partition
from sluice.position import LOWEST, Position

# Half of delete.retention.ms (30 days): after a longer absence tombstones may have gone by unseen.
ABSENCE_MAX_S = 15 * 86_400.0


def partition_key(partition: int) -> bytes:
    return orjson.dumps({"$partition": partition})


@dataclass(slots=True)
class PartitionRecord:
    """`processed`: the committed position it was written with; `versions` and `rules`: of what code made the state;
    `sweeps`: the newest sweep of each stream, below which everything is superseded; `paused_at`: when its owner
    stopped reading it for too many dead letters (Unix s), 0 if it did not."""

    topic_id: str
    processed: int
    versions: dict[str, int] = field(default_factory=dict)
    sweeps: dict[str, Position] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    paused_at: float = 0.0

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
            }
        )

    @classmethod
    def from_json(cls, value: bytes) -> PartitionRecord:
        read = orjson.loads(value)
        sweeps = {stream: Position(*position) for stream, position in read["sweeps"].items()}
        paused_at = read.get("paused_at", 0.0)
        return cls(read["topic_id"], read["processed"], read["versions"], sweeps, read["rules"], read["at"], paused_at)


@dataclass(frozen=True, slots=True)
class Found:
    """What an owner finds of a partition: the group's committed offset (None: none), the topic's id, the log's first
    offset and its end, and the offset up to which an operator accepted to skip (None: none)."""

    at: Partition
    group: str
    committed: int | None
    topic_id: str
    begin: int
    end: int
    accepted_skip: int | None = None

    @property
    def place(self) -> str:
        """For errors: which partition of which group."""
        return f"{self.at[0]}/{self.at[1]}, group {self.group}"

    @property
    def reset_command(self) -> str:
        """Kafka's own command for this partition, up to where to reset it."""
        return reset_command(self.group, f"{self.at[0]}:{self.at[1]}")


def reset_command(group: str, topic: str) -> str:
    """Kafka's own command for all of `topic` (or `topic:partition`), up to where to reset it."""
    return f"kafka-consumer-groups --group {group} --topic {topic} --reset-offsets"


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; `reset` when that is not where the last transaction of the group ended."""

    offset: int
    reset: bool = False


def decide_start(found: Found, record: PartitionRecord | None, now_s: float) -> Start:
    """Where to begin on a partition whose last record is `record`. Raises EnvironmentFault where going on could lose
    records, with the range and the way out."""
    committed = found.committed
    if record is None:
        if committed is None:
            return Start(found.begin)
        _refuse_outside(found, committed, found.begin)
        return Start(committed)
    if record.topic_id != found.topic_id:
        raise EnvironmentFault(
            found.place,
            f"the topic was re-created (its id was {record.topic_id}, is {found.topic_id}); old offsets mean nothing",
            "stop the pipeline and drop its state with its topics (`sluice dev reset` in development)",
        )
    if committed is None:
        raise EnvironmentFault(
            found.place,
            "no committed offset, yet this group has read here before; its offsets expired or were deleted",
            # One command for all partitions: where each of them was left is worth less than a short message.
            f"stop the stage, {reset_command(found.group, found.at[0])} --to-earliest --execute, and start it; "
            "what it did before is not written again",
        )
    _refuse_beyond_end(found, committed, record.processed)
    if committed > record.processed and committed != found.accepted_skip:
        raise EnvironmentFault(
            found.place,
            f"moved forward: offsets {record.processed} to {committed - 1} would be skipped unread",
            "move it back with kafka-consumer-groups, or accept the loss: "
            f"`sluice skips accept {found.group} {found.at[0]} {found.at[1]} --to {committed}`",
        )
    if now_s - record.at > ABSENCE_MAX_S:
        return Start(found.begin, reset=committed != found.begin)
    _refuse_outside(found, committed, record.processed)
    return Start(committed, reset=committed != record.processed)


def _refuse_outside(found: Found, committed: int, processed: int) -> None:
    """What the log does not have cannot be read; `processed` is what a group beyond the end goes back to."""
    _refuse_beyond_end(found, committed, processed)
    if committed < found.begin:
        raise EnvironmentFault(
            found.place,
            f"offsets {committed} to {found.begin - 1} are gone from the log before this group read them",
            f"accept the loss by {found.reset_command} --to-earliest --execute",
        )


def _refuse_beyond_end(found: Found, committed: int, processed: int) -> None:
    if committed > found.end:
        raise EnvironmentFault(
            found.place,
            f"the committed offset {committed} is beyond the end of the log, {found.end}; nothing was skipped yet",
            "move the group back, with the stage stopped: "
            f"{found.reset_command} --to-offset {min(processed, found.end)} --execute",
        )
