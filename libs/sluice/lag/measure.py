"""The lag of a pipeline's stages, and what is not read at all, measured from outside: no stage needs to run for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.groups import members_of
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned, Topics
from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.dead_letter_counts import DeadLetterCounts, StageDeadLetters
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs
from sluice.lag.not_read import NotRead, look
from sluice.names import INGRESS_POLLER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings, unmapped

# Offsets and the record that is written with them become visible one after the other.
LOOK_AGAIN_AFTER_S = 0.3


def total_of(several: Iterable[Backlog]) -> Backlog:
    """Several backlogs as one."""
    all_of_them = list(several)
    ages = [one.oldest_ms for one in all_of_them if one.oldest_ms is not None]
    at_most = any(one.at_most for one in all_of_them)
    return Backlog(sum(one.records for one in all_of_them), at_most, min(ages, default=None))


class StageLag(NamedTuple):
    """The backlog of one stage by input partition. `begun`: the group has committed something on every partition.

    `holds`: the partitions that are not read; `holds_unknown` says why that could not be found out. `members`: of the
    group, now; None where that is not known, with the reason in `members_unknown`. `sink`: which of several.
    """

    stage: str
    group: str
    partitions: dict[Partition, Backlog]
    begun: bool
    holds: Mapping[Partition, NotRead]
    holds_unknown: str = ""
    members: int | None = None
    sink: str = ""
    members_unknown: str = ""

    @property
    def total(self) -> Backlog:
        """All partitions as one backlog."""
        return total_of(self.partitions.values())

    @property
    def not_read(self) -> dict[tuple[str, str], list[int]]:
        """The partitions that are held or paused, by topic and which of the two."""
        found: dict[tuple[str, str], list[int]] = {}
        for (topic, partition), hold in sorted(self.holds.items()):
            found.setdefault((topic, hold.kind), []).append(partition)
        return found

    def to_json(self, now_s: float) -> dict[str, Any]:
        """For programs: totals, and the partitions that have something left or are not read."""
        left = {at: one for at, one in self.partitions.items() if one.records or at in self.holds}
        return {
            "group": self.group,
            "begun": self.begun,
            "members": self.members,
            **_told(self.total, now_s),
            "partitions": [
                {"topic": at[0], "partition": at[1], **_told(one, now_s), "hold": _hold_json(self.holds.get(at))}
                for at, one in left.items()
            ],
            "holds_unknown": self.holds_unknown or None,
            "members_unknown": self.members_unknown or None,
        }


class LagMeter:
    """Measures all stages of a pipeline; keeps its clients between measurements.

    `unmapped`: the streams that no mapping reads.
    """

    def __init__(self, pipeline: Pipeline, settings: KafkaSettings) -> None:
        self._pipeline = pipeline
        self._kafka = settings
        self._admin: AdminClient = clients.admin(settings)
        self._reader = LogReader(settings)
        self._letters = DeadLetterCounts(self._reader, pipeline.names)
        mappings = load_mappings(pipeline)
        self.unmapped = unmapped(pipeline, mappings)
        self._inputs = stage_inputs(pipeline, mappings, load_entities(pipeline))
        self._pinned: dict[str, Pinned] = {}

    def close(self) -> None:
        self._reader.close()

    def measure(self) -> list[StageLag]:
        """Every stage's lag, in the order of the flow. Raises EnvironmentFault for missing topics, or Transient."""
        return [self._of(inputs) for inputs in self._inputs]

    def _of(self, inputs: StageInputs) -> StageLag:
        pinned = self._topics()
        partitions = [(topic, p) for topic in inputs.topics for p in range(pinned[topic].partitions)]
        # Committed first: a group that goes on meanwhile then shows too much rather than too little.
        committed = committed_offsets(self._kafka, inputs.group, partitions)
        begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions, committed=True)
        begun = all(at in committed for at in partitions)
        held, unknown = self._holds(inputs, begins, committed)
        spans = {at: (max(_read_to(at, committed, held), begins[at]), ends[at]) for at in partitions}
        left = backlogs(self._reader, spans)
        sink = inputs.sink if len(self._pipeline.sinks) > 1 else ""
        members, unasked = self._members(inputs.group)
        return StageLag(inputs.stage, inputs.group, left, begun, held, unknown, members, sink, unasked)

    def left_over(self) -> list[str]:
        """Raw topics that no source of the pipeline writes: what came from them stands in golden records for ever."""
        names = self._pipeline.names
        declared = {names.raw(one.source, one.stream) for one in self._pipeline.streams()}
        there = self._reader.topics()
        return sorted(name for name in there if name.startswith(names.raw_prefix) and name not in declared)

    def dead_letters(self) -> list[StageDeadLetters]:
        """Those that are kept, by stage and cause. Raises EnvironmentFault and Transient."""
        return self._letters.look()

    def pollers(self) -> tuple[int | None, str]:
        """How many processes poll; None where that is not known, and why."""
        return self._members(self._pipeline.names.group(INGRESS_POLLER))

    def _members(self, group: str) -> tuple[int | None, str]:
        try:
            return members_of(self._admin, group), ""
        except (EnvironmentFault, Transient) as error:
            return None, str(error)

    def _holds(
        self, inputs: StageInputs, begins: Mapping[Partition, int], committed: Mapping[Partition, int]
    ) -> tuple[dict[Partition, NotRead], str]:
        """What the stage does not read, or why that is not known: lag is worth telling without it."""
        topic_ids = {topic: self._topics()[topic].topic_id for topic in inputs.topics}
        try:
            found = look(self._reader, self._pipeline, inputs, topic_ids, begins, committed)
            if any(one.kind == "held" for one in found.values()):
                time.sleep(LOOK_AGAIN_AFTER_S)
                committed = committed_offsets(self._kafka, inputs.group, begins)
                again = look(self._reader, self._pipeline, inputs, topic_ids, begins, committed)
                found = {at: again[at] for at in found if at in again}
        except (EnvironmentFault, SettingsError, Transient) as error:
            return {}, str(error)
        return found, ""

    def _topics(self) -> dict[str, Pinned]:
        if not self._pinned:
            self._pinned = Topics(self._admin).pinned([topic for inputs in self._inputs for topic in inputs.topics])
        return self._pinned


def _read_to(at: Partition, committed: Mapping[Partition, int], holds: Mapping[Partition, NotRead]) -> int:
    """Up to which offset a partition is read: where the group was moved forward, not what it committed."""
    hold, offset = holds.get(at), committed.get(at, 0)
    return offset if hold is None or hold.unread_from is None else min(offset, hold.unread_from)


def _hold_json(hold: NotRead | None) -> dict[str, Any] | None:
    return None if hold is None else hold._asdict()


def _told(backlog: Backlog, now_s: float) -> dict[str, Any]:
    return {"records": backlog.records, "at_most": backlog.at_most, "seconds": round(backlog.age_s(now_s), 3)}
