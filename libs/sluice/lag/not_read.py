"""Which partitions a stage does not read, why, and what lets it continue: decided from what is durable.

*Blocked*: its owner cannot start the partition without losing records, for example after a group was moved forward.
*Paused*: its owner stopped reading the input topic because of too many dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sluice.errors import EnvironmentFault, SettingsError
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.lag.groups import StageInputs
from sluice.lag.partition_records import partition_records
from sluice.pipeline import Pipeline
from sluice.stage.dead_letters import PAUSED_WHY, to_resume
from sluice.stage.partition_record import LogStart, PartitionRecord, log_name, log_starts, topic_of
from sluice.stage.start import accepted_skip
from sluice.stage.start_decision import StartFacts, decide_start


class NotRead(NamedTuple):
    """Why a partition is not read, and what the operator does. `since_s`: Unix s, None if unknown.

    `unread_from`: the first offset that was not read, where that is not the offset that the group committed.
    """

    kind: Literal["blocked", "paused"]
    why: str
    next_step: str
    since_s: float | None = None
    unread_from: int | None = None


@dataclass(frozen=True)
class InputFacts:
    """What is durable about a stage's input partitions. `committed` lacks those that the group never committed.

    `ends` were asked after `committed`, so a group that works is never beyond them. `states`: the log that keeps the
    partition record of each partition; `logs`: the logs that those records name, as they are now.
    """

    stage: str
    group: str
    topic_ids: Mapping[str, str]
    begins: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    committed: Mapping[Partition, int]
    records: Mapping[Partition, PartitionRecord]
    states: Mapping[Partition, str] = field(default_factory=dict)
    logs: Mapping[str, LogStart] = field(default_factory=dict)


def read_input_facts(
    reader: LogReader,
    pipeline: Pipeline,
    inputs: StageInputs,
    pinned: Mapping[str, Pinned],
    begins: Mapping[Partition, int],
    committed: Mapping[Partition, int],
) -> InputFacts:
    """Read what else is durable about the partitions in `begins`. Raises EnvironmentFault, SettingsError, Transient."""
    records = partition_records(reader, pipeline, inputs, begins)
    ends = reader.ends(list(begins))
    states = {}
    if not inputs.sink:
        states = {at: log_name((pipeline.names.state(inputs.stage, at[0]), at[1])) for at in begins}
    known = {log for record in records.values() for log in record.logs}
    logs = log_starts(reader, known, reader.pinned(sorted(set(map(topic_of, known)))))
    topic_ids = {topic: pinned[topic].topic_id for topic in inputs.topics}
    return InputFacts(inputs.stage, inputs.group, topic_ids, begins, ends, committed, records, states, logs)


def partitions_not_read(facts: InputFacts, reader: LogReader, control_topic: str) -> dict[Partition, NotRead]:
    """The partitions that are not read. Raises EnvironmentFault and Transient."""
    found = {at: _not_read(facts, at, None) for at in facts.begins}
    for at, one in found.items():
        if one is not None and one.kind == "blocked":
            # The control topic is read only here, because few partitions are ever blocked.
            found[at] = _not_read(facts, at, accepted_skip(reader, control_topic, facts.group, at))
    return {at: one for at, one in found.items() if one is not None}


def require_acceptable(facts: InputFacts, at: Partition, to: int) -> None:
    """Raises SettingsError, unless `at` is blocked and the acceptance of offset `to` lets the stage continue there."""
    place, now = f"{at[0]}/{at[1]}", _not_read(facts, at, None)
    if now is None or now.kind != "blocked":
        others = [f"{topic}/{p}" for topic, p in facts.begins if _is_blocked(facts, (topic, p), None)]
        instead = f"it is blocked at {', '.join(others)}" if others else "none of its partitions is blocked"
        raise SettingsError(f"{facts.group} is not blocked at {place}, so there is nothing to accept; {instead}")
    if _is_blocked(facts, at, to):
        raise SettingsError(
            f"accepting {to} does not let {facts.group} continue at {place}: {now.why}. Next: {now.next_step}"
        )


def _is_blocked(facts: InputFacts, at: Partition, accepted: int | None) -> bool:
    one = _not_read(facts, at, accepted)
    return one is not None and one.kind == "blocked"


def _not_read(facts: InputFacts, at: Partition, accepted: int | None) -> NotRead | None:
    """None if the partition is read, given that an operator accepted a skip to offset `accepted`."""
    record, topic_id = facts.records.get(at), facts.topic_ids[at[0]]
    begin = facts.begins[at]
    place = StartFacts(
        at,
        facts.group,
        facts.committed.get(at),
        topic_id,
        begin,
        facts.ends[at],
        accepted,
        facts.stage,
        facts.states.get(at, ""),
        facts.logs,
    )
    try:
        decide_start(place, record, time.time())
    except EnvironmentFault as fault:
        processed = record.processed if record is not None and record.topic_id == topic_id else 0
        return NotRead("blocked", fault.why, fault.next_step, None, max(begin, processed))
    if record is not None and record.paused_at:
        return NotRead("paused", PAUSED_WHY, to_resume(facts.stage, facts.group, at[0]), record.paused_at)
    return None
