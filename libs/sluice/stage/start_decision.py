"""The decision at which offset the owner of a partition starts to read, as a pure function of facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.errors import EnvironmentFault
from sluice.kafka.log import Partition
from sluice.names import MAPPER, MERGER, SINK_POSTGRES
from sluice.stage.partition_record import LogStart, PartitionRecord

# Half of delete.retention.ms (30 days). After a longer absence of the stage, compaction may have removed tombstones
# that the stage has not read.
ABSENCE_MAX_S = 15 * 86_400.0


@dataclass(frozen=True, slots=True)
class StartFacts:
    """The facts about a partition that decide at which offset its owner starts. All offsets are offsets in Kafka; none
    of them says which of two states is newer.

    * `committed`: the group's committed offset, None if it has none.
    * `begin`, `end`: the log's first offset and its end.
    * `accepted_skip`: the offset up to which an operator accepted to skip, None if none was accepted.
    * `state`: the log that contains the stage's partition record.
    * `logs`: the current start of each log that the state depends on.
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

    def fault(self, why: str, next_step: str) -> EnvironmentFault:
        return EnvironmentFault(f"{self.at[0]}/{self.at[1]}, group {self.group}", why, next_step)

    @property
    def reset_command(self) -> str:
        """Kafka's command that resets this partition, without the target offset."""
        return reset_command(self.group, f"{self.at[0]}:{self.at[1]}")

    @property
    def recovery_steps(self) -> str:
        """The instructions for an operator, as a text, after which this stage recovers the state that it lost."""
        if self.stage == SINK_POSTGRES:
            return f"stop the sink and run `sluice sink rebuild {self.at[0].rpartition('.')[2]}`"
        # One command for all partitions of the topic, because a command for each partition would make the text too
        # long.
        command = f"stop the stage, {reset_command(self.group, self.at[0])} --to-earliest --execute, and start it"
        if self.committed == self.begin:  # a reset changes nothing: the log was cut up to the committed offset
            command = f"`sluice skips accept {self.group} {self.at[0]} {self.at[1]} --to {self.begin}`"
        elif self.stage == MAPPER and self.begin == 0:
            return command + _MAPPER_THEN
        return _BEFORE.get(self.stage, "") + command

    def is_reset_to_begin(self, processed: int) -> bool:
        """Whether an operator moved the group to the first offset, so that it reads everything again.

        If the log was cut exactly up to the committed offset, this looks the same. An operator must then confirm it
        with an accepted skip.
        """
        if self.committed != self.begin or self.stage == SINK_POSTGRES:
            return False
        return self.begin in (0, self.accepted_skip) or self.begin < processed


# Texts for an operator: what must happen before a stage reads everything again, and what the mapper does afterwards.
_BEFORE = {
    MAPPER: "records of this topic were deleted as well: have the source publish everything again (`sluice cdc "
    "resnapshot SOURCE`; ingress-poller does so when it restarts), wait until `sluice lag` shows none for it; then ",
    MERGER: "have the mapper claim again what was deleted (its own fault says how), wait until `sluice lag` shows none "
    "for it; then ",
}
_MAPPER_THEN = (
    ". The mapper then finds its claims in contributions, claims again what is missing there, and retracts each claim "
    "that raw has no record of"
)


def reset_command(group: str, topic: str) -> str:
    """Kafka's command that resets `group` on `topic` (or `topic:partition`), without the target offset."""
    servers = '--bootstrap-server "$SLUICE_KAFKA__BOOTSTRAP_SERVERS"'
    return f"kafka-consumer-groups {servers} --group {group} --topic {topic} --reset-offsets"


@dataclass(frozen=True, slots=True)
class Start:
    """The decision: read from `offset`. `reset`: the group's last transaction ended at another offset. `pass_end`: the
    state was lost, and reading up to this offset rebuilds it; None if the state is complete."""

    offset: int
    reset: bool = False
    pass_end: int | None = None


def decide_start(facts: StartFacts, record: PartitionRecord | None, now_s: float) -> Start:
    """Where to start on a partition whose partition record is `record`. Raises EnvironmentFault, with the range and the
    next step, if records could be lost.

    A group that was moved to the first offset starts whatever was lost, because it reads everything. Positions in the
    state are still valid after the topic was re-created.
    """
    committed = facts.committed
    if record is None:
        if committed is None:
            return Start(facts.begin, pass_end=facts.end)
        _refuse_beyond_end(facts, committed, facts.begin)
        _refuse_before_begin(facts, committed)
        # Offset 0 means that no record was read: the last owner ended after it committed the first offset of the group
        # and before it delivered a batch.
        if committed > 0 and not facts.is_reset_to_begin(0):
            raise facts.fault(_forgotten(facts, committed), facts.recovery_steps)
        return Start(committed, pass_end=facts.end)
    if lost_log := _lost_log(facts, record):
        if not facts.is_reset_to_begin(record.processed):
            raise facts.fault(lost_log, facts.recovery_steps)
        lost = record.topic_id == facts.topic_id or record.pass_end is not None
        return Start(facts.begin, reset=True, pass_end=facts.end if lost else None)
    if committed is None:
        raise facts.fault(
            "no committed offset, but this group has read this partition; its offsets expired or were deleted",
            f"stop the stage, {reset_command(facts.group, facts.at[0])} --to-earliest --execute, and start it; "
            "records that it processed before are not written again",
        )
    _refuse_beyond_end(facts, committed, record.processed)
    if committed > record.processed and committed != facts.accepted_skip:
        raise _moved_forward(facts, record.processed, committed)
    skipped_in_pass = record.pass_end is not None and committed > record.processed
    if now_s - record.at > ABSENCE_MAX_S or skipped_in_pass:
        return Start(facts.begin, reset=committed != facts.begin, pass_end=record.pass_end)
    _refuse_before_begin(facts, committed)
    return Start(committed, reset=committed != record.processed, pass_end=record.pass_end)


def _moved_forward(facts: StartFacts, processed: int, committed: int) -> EnvironmentFault:
    accept = f"`sluice skips accept {facts.group} {facts.at[0]} {facts.at[1]} --to {committed}`"
    left_out = f"offsets {processed} to {committed - 1} would be skipped unread"
    if facts.stage == SINK_POSTGRES:
        # Tables that were restored from a backup look the same as a group that was moved forward, and are more
        # frequent.
        return facts.fault(
            f"the tables contain less than the group has read: they were restored from a backup, or the group was "
            f"moved forward: {left_out}",
            f"{facts.recovery_steps} and start it; only if the group was moved on purpose, accept the loss: {accept}",
        )
    back = f"{facts.reset_command} --to-offset {processed} --execute"
    return facts.fault(
        f"moved forward: {left_out}",
        f"move it back, with the stage stopped: {back}; or accept the loss: {accept}",
    )


def _forgotten(facts: StartFacts, committed: int) -> str:
    """The text that says why a committed offset without a partition record is a fault."""
    if facts.stage == SINK_POSTGRES:
        return (
            f"the group has read up to {committed}, but Postgres has no record of a write: the schema was dropped, or "
            "the setting names another one"
        )
    return (
        f"the group has read up to {committed}, but {facts.state} contains no record of it: that topic was re-created "
        "or emptied; without its records, deletes are lost"
    )


def _lost_log(facts: StartFacts, record: PartitionRecord) -> str:
    """A text that names the log, among those that the state depends on, that lost records; empty if none did."""
    if record.topic_id != facts.topic_id:
        return f"the topic was re-created (its id was {record.topic_id}, is {facts.topic_id}); old offsets are void"
    for log, before in record.logs.items():
        now = facts.logs.get(log, before)
        if now.topic_id != before.topic_id:
            return f"{log} was re-created (its id was {before.topic_id}, is {now.topic_id}): its records are lost"
        if now.first != before.first:
            return f"records of {log} were deleted (its first offset was {before.first}, is {now.first})"
    return ""


def _refuse_before_begin(facts: StartFacts, committed: int) -> None:
    if committed < facts.begin:
        raise facts.fault(
            f"offsets {committed} to {facts.begin - 1} were deleted from the log before this group read them",
            f"accept the loss by {facts.reset_command} --to-earliest --execute",
        )


def _refuse_beyond_end(facts: StartFacts, committed: int, processed: int) -> None:
    """Raises EnvironmentFault if `committed` is beyond the end of the log. The text advises the operator to move the
    group back to `processed`, or to the end if that is lower."""
    if committed > facts.end:
        raise facts.fault(
            f"the committed offset {committed} is beyond the end of the log, {facts.end}; no record was skipped yet",
            "move the group back, with the stage stopped: "
            f"{facts.reset_command} --to-offset {min(processed, facts.end)} --execute",
        )
