"""The partition record, and the decision where an owner of a partition begins to read.

The record stands in every stage's state and is written in the transaction of the offsets it speaks of. It shows what
the committed offset alone cannot: a re-created topic, a group that was moved forward, a long absence.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import orjson

from sluice.errors import EnvironmentFault
from sluice.position import LOWEST, Position
from sluice.stage.record import At

# Half of delete.retention.ms (30 days): after a longer absence tombstones may have gone by unseen.
ABSENCE_MAX_S = 15 * 86_400.0


def partition_key(partition: int) -> bytes:
    return orjson.dumps({"$partition": partition})


@dataclass(slots=True)
class PartitionRecord:
    """`processed`: the committed position it was written with; `versions` and `rules`: of what code made the state;
    `sweeps`: the newest sweep of each stream, below which everything is superseded for ever."""

    topic_id: str
    processed: int
    versions: dict[str, int] = field(default_factory=dict)
    sweeps: dict[str, Position] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    at: float = 0.0

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
            }
        )

    @classmethod
    def from_json(cls, value: bytes) -> PartitionRecord:
        read = orjson.loads(value)
        sweeps = {stream: Position(*position) for stream, position in read["sweeps"].items()}
        return cls(read["topic_id"], read["processed"], read["versions"], sweeps, read["rules"], read["at"])


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; `reset` when that is not where the last transaction of the group ended."""

    offset: int
    reset: bool = False


def decide_start(
    at: At,
    group: str,
    committed: int | None,
    record: PartitionRecord | None,
    topic_id: str,
    begin: int,
    accepted_skip: int | None,
    now_s: float,
) -> Start:
    """Where to begin on a partition. Raises EnvironmentFault where going on could lose records.

    `committed`: the group's committed offset (None: none); `begin`: the first offset of the log; `accepted_skip`: the
    offset up to which an operator accepted to skip.
    """
    where = f"{at[0]}/{at[1]}, group {group}"
    if record is None:
        return Start(begin if committed is None else committed)
    if record.topic_id != topic_id:
        raise EnvironmentFault(
            where,
            f"the topic was re-created (its id was {record.topic_id}, is {topic_id}); old offsets mean nothing",
            "stop the pipeline and drop its state with its topics (`sluice dev reset` in development)",
        )
    if committed is None:
        raise EnvironmentFault(
            where,
            f"no committed offset, yet this group processed up to {record.processed}; they expired or were deleted",
            f"kafka-consumer-groups --group {group} --topic {at[0]}:{at[1]} --reset-offsets --to-offset "
            f"{record.processed} (or --to-earliest) --execute",
        )
    if committed > record.processed and committed != accepted_skip:
        raise EnvironmentFault(
            where,
            f"moved forward: offsets {record.processed} to {committed - 1} would be skipped unread",
            "move it back with kafka-consumer-groups, or accept the loss: "
            f"`sluice skips accept {group} {at[0]} {at[1]} --to {committed}`",
        )
    if now_s - record.at > ABSENCE_MAX_S:
        return Start(begin, reset=committed != begin)
    if committed < begin:
        raise EnvironmentFault(
            where,
            f"offsets {committed} to {begin - 1} are gone from the log before this group read them",
            f"accept the loss by kafka-consumer-groups --group {group} --topic {at[0]}:{at[1]} --reset-offsets "
            "--to-earliest --execute",
        )
    return Start(committed, reset=committed != record.processed)
