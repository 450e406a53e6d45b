"""Finds the input partitions that a stage does not read, the reason, and the next step that lets the stage continue.

The decision uses only what is durable, so the stage need not run. A partition is *blocked* if its owner cannot start it
without losing records, for example after the group was moved forward. A partition is *paused* if its owner stopped
reading the input topic because of too many dead letters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from sluice.errors import EnvironmentFault, SettingsError
from sluice.golden.rows import connect_to_read, progress_of
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.lag.groups import StageInputs
from sluice.pipeline import Pipeline
from sluice.stage.dead_letters import PAUSED_WHY, to_resume
from sluice.stage.partition_record import PartitionRecord, log_name, log_starts, partition_key, topic_of
from sluice.stage.start import accepted_skip
from sluice.stage.start_decision import StartFacts, decide_start

# The newest partition record is searched among so many last offsets of a state partition, then in the whole partition.
# A transaction writes the partition record last, so the record is mostly within a few offsets of the end.
_TAILS_OFFSETS = (16, 1_000)


def partition_records(
    reader: LogReader, pipeline: Pipeline, inputs: StageInputs, partitions: Iterable[Partition]
) -> dict[Partition, PartitionRecord]:
    """The newest partition record of each of a stage's input `partitions`. Partitions without one are left out.

    Raises EnvironmentFault if a topic, a table or the sink's server is missing, Transient if a server does not answer.
    """
    if inputs.sink:
        return _of_sink(pipeline, inputs.sink)
    states = {(pipeline.names.state(inputs.stage, topic), p): (topic, p) for topic, p in partitions}
    found = newest_values(reader, {state: partition_key(state[1]) for state in states})
    return {states[state]: PartitionRecord.from_json(value) for state, value in found.items()}


def newest_values(reader: LogReader, wanted: Mapping[Partition, bytes]) -> dict[Partition, bytes]:
    """The newest committed value of one key in each partition. Partitions without the key are left out.

    `wanted`: for each partition, the key to find in it. Each partition is searched backwards from its end. Blocks.
    """
    found: dict[Partition, bytes] = {}
    begins, ends = reader.beginnings(list(wanted)), reader.ends(list(wanted), committed=True)
    for tail in (*_TAILS_OFFSETS, max(ends.values(), default=0)):
        left = [at for at in wanted if at not in found]
        for message in reader.read({at: (max(begins[at], ends[at] - tail), ends[at]) for at in left}):
            at, value = (str(message.topic()), int(message.partition() or 0)), message.value()
            if message.key() == wanted[at] and value is not None:
                found[at] = value
    return found


def _of_sink(pipeline: Pipeline, name: str) -> dict[Partition, PartitionRecord]:
    sink = pipeline.sinks[name]
    with connect_to_read(sink.postgres.reveal(), f"sink {name}") as connection:
        rows = progress_of(connection, sink.schema_)
    return {
        (row.topic, row.partition): PartitionRecord(row.topic_id, row.processed, at=row.at_s, paused_at=row.paused_at_s)
        for row in rows
    }


class NotRead(NamedTuple):
    """Why a stage does not read a partition (`why`), and what an operator does (`next_step`).

    `since_s`: since when, in Unix seconds, None if unknown. `unread_from`: the first offset that the stage has not
    read, None if it is the group's committed offset.
    """

    kind: Literal["blocked", "paused"]
    why: str
    next_step: str
    since_s: float | None = None
    unread_from: int | None = None


class InputFacts(NamedTuple):
    """What is durable about an input partition: the facts that decide its start, and its partition record, if any."""

    start: StartFacts
    record: PartitionRecord | None


def read_input_facts(
    reader: LogReader,
    pipeline: Pipeline,
    inputs: StageInputs,
    pinned: Mapping[str, Pinned],
    begins: Mapping[Partition, int],
    committed: Mapping[Partition, int],
) -> dict[Partition, InputFacts]:
    """Read the durable facts of a stage's input partitions. `begins`: the first offset of each partition in its log.

    `committed`: the group's committed offsets. They must be read before this call, which reads the ends of the logs. So
    the offset of a working group is never beyond the end.

    Raises SettingsError for a wrong setting, EnvironmentFault if a topic or table is missing, and Transient if a server
    does not answer.
    """
    records = partition_records(reader, pipeline, inputs, begins)
    ends = reader.ends(list(begins))
    known = {log for record in records.values() for log in record.logs}
    logs = log_starts(reader, known, reader.pinned(sorted(set(map(topic_of, known)))))
    found = {}
    for at, begin in begins.items():
        state = "" if inputs.sink else log_name((pipeline.names.state(inputs.stage, at[0]), at[1]))
        start = StartFacts(
            at,
            inputs.group,
            committed.get(at),
            pinned[at[0]].topic_id,
            begin,
            ends[at],
            stage=inputs.stage,
            state=state,
            logs=logs,
        )
        found[at] = InputFacts(start, records.get(at))
    return found


def partitions_not_read(
    facts: Mapping[Partition, InputFacts], reader: LogReader, control_topic: str
) -> dict[Partition, NotRead]:
    """The partitions that a stage does not read, with the reason of each. Accepted skips count.

    Raises EnvironmentFault or Transient if the control topic cannot be read.
    """
    found = {at: _not_read(one) for at, one in facts.items()}
    for at, one in found.items():
        if _is_blocked(one):
            # The control topic is read only here, because few partitions are ever blocked.
            accepted = accepted_skip(reader, control_topic, facts[at].start.group, at)
            found[at] = _not_read(facts[at], accepted)
    return {at: one for at, one in found.items() if one is not None}


def require_acceptable(facts: Mapping[Partition, InputFacts], at: Partition, to: int) -> None:
    """Check that accepting a skip to offset `to` lets a stage continue at partition `at`.

    Raises SettingsError if the partition is not blocked, or if it stays blocked with this offset.
    """
    group, place, now = facts[at].start.group, f"{at[0]}/{at[1]}", _not_read(facts[at])
    if now is None or not _is_blocked(now):
        others = [f"{topic}/{p}" for (topic, p), one in facts.items() if _is_blocked(_not_read(one))]
        instead = f"it is blocked at {', '.join(others)}" if others else "none of its partitions is blocked"
        raise SettingsError(f"{group} is not blocked at {place}, so there is nothing to accept; {instead}")
    if _is_blocked(_not_read(facts[at], to)):
        raise SettingsError(
            f"accepting {to} does not let {group} continue at {place}: {now.why}. Next: {now.next_step}"
        )


def _is_blocked(one: NotRead | None) -> bool:
    return one is not None and one.kind == "blocked"


def _not_read(facts: InputFacts, accepted: int | None = None) -> NotRead | None:
    """Why a stage does not read a partition; None if the stage reads it.

    `accepted`: the offset up to which an operator accepted a skip, else None.
    """
    start, record = replace(facts.start, accepted_skip=accepted), facts.record
    try:
        decide_start(start, record, time.time())
    except EnvironmentFault as fault:
        processed = record.processed if record is not None and record.topic_id == start.topic_id else 0
        return NotRead("blocked", fault.why, fault.next_step, None, max(start.begin, processed))
    if record is not None and record.paused_at:
        return NotRead("paused", PAUSED_WHY, to_resume(start.stage, start.group, start.at[0]), record.paused_at)
    return None
