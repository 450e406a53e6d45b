"""Which partitions a stage does not read, why, and how an operator lets it go on: decided from what is durable.

*Held*: its owner cannot begin there without losing records, such as behind a group that was moved forward.
*Paused*: its owner stopped reading the input topic for too many dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from sluice.errors import EnvironmentFault, SettingsError
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.lag.groups import StageInputs
from sluice.lag.partition_records import partition_records
from sluice.pipeline import Pipeline
from sluice.stage.dead_letters import PAUSED_WHY, to_resume
from sluice.stage.partition_record import LogStart, PartitionRecord, log_name, logs_now, topic_of
from sluice.stage.start import accepted_skip
from sluice.stage.start_decision import StartFacts, decide_start


class NotRead(NamedTuple):
    """`next_step` is the operator's; `since_s` (Unix s) is None where nothing tells.

    `unread_from`: the offset from which on nothing was read, where that is not the one that the group committed.
    """

    kind: Literal["held", "paused"]
    why: str
    next_step: str
    since_s: float | None = None
    unread_from: int | None = None


@dataclass(frozen=True)
class InputFacts:
    """What is known of a stage's input partitions from outside; `committed` has none that the group never committed.

    `ends` were asked for after `committed`: no group that goes on stands behind them. `states`: where the partition
    record of each is kept; `logs`: how those stand that the records speak of.
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


def looked(
    reader: LogReader,
    pipeline: Pipeline,
    inputs: StageInputs,
    topic_ids: Mapping[str, str],
    begins: Mapping[Partition, int],
    committed: Mapping[Partition, int],
) -> InputFacts:
    """What `begins` and `committed` are known beside. Raises EnvironmentFault, SettingsError, Transient."""
    records = partition_records(reader, pipeline, inputs, begins)
    ends = reader.ends(list(begins))
    states = {}
    if not inputs.sink:
        states = {at: log_name((pipeline.names.state(inputs.stage, at[0]), at[1])) for at in begins}
    known = {log for record in records.values() for log in record.logs}
    logs = logs_now(reader, known, reader.pinned(sorted(set(map(topic_of, known)))))
    return InputFacts(inputs.stage, inputs.group, topic_ids, begins, ends, committed, records, states, logs)


def look(
    reader: LogReader,
    pipeline: Pipeline,
    inputs: StageInputs,
    topic_ids: Mapping[str, str],
    begins: Mapping[Partition, int],
    committed: Mapping[Partition, int],
) -> dict[Partition, NotRead]:
    """What the stage does not read of the partitions in `begins`. Raises EnvironmentFault, SettingsError, Transient."""
    found = looked(reader, pipeline, inputs, topic_ids, begins, committed)
    return holds(found, reader, pipeline.names.control)


def refuse_acceptance(found: InputFacts, at: Partition, to: int) -> None:
    """Raises SettingsError, which says what is held instead, unless accepting `to` lets the stage go on at `at`."""
    held = _hold(found, at, None)
    accepted = _hold(found, at, to)
    if held is not None and held.kind == "held" and (accepted is None or accepted.kind != "held"):
        return
    place, others = f"{at[0]}/{at[1]}", [one for one in found.begins if one != at]
    if held is not None and held.kind == "held":
        raise SettingsError(f"accepting {to} does not let {found.group} go on at {place}: {held.why}. {held.next_step}")
    elsewhere = [
        f"{topic}/{p}" for topic, p in others if (one := _hold(found, (topic, p), None)) and one.kind == "held"
    ]
    instead = f"; it is held at {', '.join(elsewhere)}" if elsewhere else "; nothing of it is held"
    raise SettingsError(f"{found.group} is not held at {place}, so that there is nothing to accept{instead}")


def holds(looked: InputFacts, reader: LogReader, control_topic: str) -> dict[Partition, NotRead]:
    """The partitions that are not read. Raises EnvironmentFault and Transient."""
    found = {at: _hold(looked, at, None) for at in looked.begins}
    for at, one in found.items():
        if one is not None and one.kind == "held":
            # Only now is it worth asking whether an operator accepted it already.
            found[at] = _hold(looked, at, accepted_skip(reader, control_topic, looked.group, at))
    return {at: one for at, one in found.items() if one is not None}


def _hold(looked: InputFacts, at: Partition, accepted: int | None) -> NotRead | None:
    record = looked.records.get(at)
    place = StartFacts(
        at,
        looked.group,
        looked.committed.get(at),
        looked.topic_ids[at[0]],
        looked.begins[at],
        looked.ends[at],
        accepted,
        looked.stage,
        looked.states.get(at, ""),
        looked.logs,
    )
    try:
        decide_start(place, record, time.time())
    except EnvironmentFault as refused:
        begin = looked.begins[at]
        known = record is not None and record.topic_id == looked.topic_ids[at[0]]
        return NotRead(
            "held", refused.why, refused.next_step, None, max(begin, record.processed if record and known else 0)
        )
    if record is not None and record.paused_at:
        return NotRead("paused", PAUSED_WHY, to_resume(looked.stage, looked.group, at[0]), record.paused_at)
    return None
