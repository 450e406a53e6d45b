"""The decision where the owner of a partition starts to read, as a pure function of what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.errors import EnvironmentFault
from sluice.kafka.log import Partition
from sluice.names import MAPPER, MERGER, SINK_POSTGRES
from sluice.stage.partition_record import LogStart, PartitionRecord

# Half of delete.retention.ms (30 days): after a longer absence tombstones may have gone by unseen.
ABSENCE_MAX_S = 15 * 86_400.0


@dataclass(frozen=True, slots=True)
class StartFacts:
    """What an owner finds of a partition: the group's committed offset (None: none), the topic's id, the log's first
    offset and its end, and the offset up to which an operator accepted to skip (None: none).

    `state`: where the stage keeps its partition record; `logs`: how those logs stand now that the record speaks of.
    """

    at: Partition
    group: str
    committed: int | None
    topic_id: str
    begin: int
    end: int
    accepted_skip: int | None = None
    stage: str = ""
    state: str = ""
    logs: Mapping[str, LogStart] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """For errors: which partition of which group."""
        return f"{self.at[0]}/{self.at[1]}, group {self.group}"

    @property
    def reset_command(self) -> str:
        """Kafka's own command for this partition, up to where to reset it."""
        return reset_command(self.group, f"{self.at[0]}:{self.at[1]}")

    @property
    def reading_anew(self) -> str:
        """How an operator has this stage find again what it lost."""
        if self.stage == SINK_POSTGRES:
            return f"stop the sink and run `sluice sink rebuild {self.at[0].rpartition('.')[2]}`"
        # One command for all partitions: where each of them was left is worth less than a short message.
        command = f"stop the stage, {reset_command(self.group, self.at[0])} --to-earliest --execute, and start it"
        if self.committed == self.begin:  # it stands there already, because the log was cut
            command = f"`sluice skips accept {self.group} {self.at[0]} {self.at[1]} --to {self.begin}`"
        elif self.stage == MAPPER and self.begin == 0:
            return command + _MAPPER_THEN
        return _BEFORE.get(self.stage, "") + command

    def is_read_anew(self, processed: int) -> bool:
        """Whether the group was moved to the first offset. Where the log was cut up to where the group stands anyway,
        somebody has to say so."""
        if self.committed != self.begin or self.stage == SINK_POSTGRES:
            return False
        return self.begin in (0, self.accepted_skip) or self.begin < processed


# What a stage needs before it reads anew, and what a mapper then does.
_BEFORE = {
    MAPPER: "records of this topic are gone as well: have the source publish everything again (`sluice cdc resnapshot "
    "SOURCE`; ingress-poller does so when it is restarted), wait until `sluice lag` shows nothing of it; then ",
    MERGER: "have the mapper claim again what is gone (it tells by itself how; wait until `sluice lag` shows nothing "
    "of it); then ",
}
_MAPPER_THEN = (
    ": what it claimed is found in contributions, what is missing there is claimed again, and what raw has no record "
    "of is retracted"
)


def reset_command(group: str, topic: str) -> str:
    """Kafka's own command for all of `topic` (or `topic:partition`), up to where to reset it."""
    servers = '--bootstrap-server "$SLUICE_KAFKA__BOOTSTRAP_SERVERS"'
    return f"kafka-consumer-groups {servers} --group {group} --topic {topic} --reset-offsets"


@dataclass(frozen=True, slots=True)
class Start:
    """Read from `offset`; `reset` when that is not where the last transaction of the group ended. `pass_end`: what was
    lost of the state is found again on the way to there; None if nothing was."""

    offset: int
    reset: bool = False
    pass_end: int | None = None


def decide_start(found: StartFacts, record: PartitionRecord | None, now_s: float) -> Start:
    """Where to begin on a partition whose last record is `record`. Raises EnvironmentFault where going on could lose
    records, with the range and the way out.

    A group at the first offset begins whatever is gone: it reads everything. What stands in state by position stays
    true of a topic that was re-created.
    """
    committed = found.committed
    if record is None:
        if committed is None:
            return Start(found.begin, pass_end=found.end)
        _refuse_outside(found, committed, found.begin)
        # At offset 0 nothing was read: the owner ended between its first commit and its first record.
        if committed > 0 and not found.is_read_anew(0):
            raise EnvironmentFault(found.place, _forgotten(found, committed), found.reading_anew)
        return Start(committed, pass_end=found.end)
    if gone := _gone(found, record):
        if not found.is_read_anew(record.processed):
            raise EnvironmentFault(found.place, gone, found.reading_anew)
        lost = record.topic_id == found.topic_id or record.pass_end is not None
        return Start(found.begin, reset=True, pass_end=found.end if lost else None)
    if committed is None:
        raise EnvironmentFault(
            found.place,
            "no committed offset, yet this group has read here before; its offsets expired or were deleted",
            f"stop the stage, {reset_command(found.group, found.at[0])} --to-earliest --execute, and start it; "
            "what it did before is not written again",
        )
    _refuse_beyond_end(found, committed, record.processed)
    if committed > record.processed and committed != found.accepted_skip:
        raise _moved_forward(found, record.processed, committed)
    skipped_in_pass = record.pass_end is not None and committed > record.processed
    if now_s - record.at > ABSENCE_MAX_S or skipped_in_pass:
        return Start(found.begin, reset=committed != found.begin, pass_end=record.pass_end)
    _refuse_outside(found, committed, record.processed)
    return Start(committed, reset=committed != record.processed, pass_end=record.pass_end)


def _moved_forward(found: StartFacts, processed: int, committed: int) -> EnvironmentFault:
    accept = f"`sluice skips accept {found.group} {found.at[0]} {found.at[1]} --to {committed}`"
    left_out = f"offsets {processed} to {committed - 1} would be skipped unread"
    if found.stage == SINK_POSTGRES:
        # A group is seldom moved on purpose. Rows of a backup are older than the group's offsets, and look the same.
        return EnvironmentFault(
            found.place,
            f"the tables hold less than the group has read: they were restored from a backup, or the group was moved "
            f"forward: {left_out}",
            f"{found.reading_anew} and start it; only if the group was moved on purpose, accept the loss: {accept}",
        )
    back = f"{found.reset_command} --to-offset {processed} --execute"
    return EnvironmentFault(
        found.place,
        f"moved forward: {left_out}",
        f"move it back, with the stage stopped: {back}; or accept the loss: {accept}",
    )


def _forgotten(found: StartFacts, committed: int) -> str:
    """Why no record beside a committed offset is a stop."""
    if found.stage == SINK_POSTGRES:
        return (
            f"read up to {committed}, and Postgres knows of nothing that was written: the schema was dropped, or is "
            "another one now"
        )
    return (
        f"read up to {committed}, and {found.state} holds no record of it: that topic was made again, or emptied; "
        "without what it held, deletes are lost"
    )


def _gone(found: StartFacts, record: PartitionRecord) -> str:
    """Which log of those that the state stands on is not what it was; empty if all are whole."""
    if record.topic_id != found.topic_id:
        return f"the topic was re-created (its id was {record.topic_id}, is {found.topic_id}); old offsets mean nothing"
    for log, before in record.logs.items():
        now = found.logs.get(log, before)
        if now.topic_id != before.topic_id:
            return f"{log} was re-created (its id was {before.topic_id}, is {now.topic_id}): what stood there is gone"
        if now.first != before.first:
            return f"records of {log} were deleted (its first offset was {before.first}, is {now.first})"
    return ""


def _refuse_outside(found: StartFacts, committed: int, processed: int) -> None:
    """What the log does not have cannot be read; `processed` is what a group beyond the end goes back to."""
    _refuse_beyond_end(found, committed, processed)
    if committed < found.begin:
        raise EnvironmentFault(
            found.place,
            f"offsets {committed} to {found.begin - 1} are gone from the log before this group read them",
            f"accept the loss by {found.reset_command} --to-earliest --execute",
        )


def _refuse_beyond_end(found: StartFacts, committed: int, processed: int) -> None:
    if committed > found.end:
        raise EnvironmentFault(
            found.place,
            f"the committed offset {committed} is beyond the end of the log, {found.end}; nothing was skipped yet",
            "move the group back, with the stage stopped: "
            f"{found.reset_command} --to-offset {min(processed, found.end)} --execute",
        )
