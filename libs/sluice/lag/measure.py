"""Measures the lag of a pipeline's stages, and finds the partitions that they do not read.

The measurement uses only what Kafka and the sinks have stored. So no stage needs to run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.groups import members_of
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.dead_letter_counts import DeadLetterCounts, StageDeadLetters
from sluice.lag.faults import ActiveFaults, active_faults
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs
from sluice.lag.not_read import NotRead, partitions_not_read, read_input_facts
from sluice.lag.sources import SourceLag, source_lags
from sluice.names import INGRESS_POLLER
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings, unmapped

# A blocked partition is checked a second time after this time. A transaction's offset and its partition record become
# visible one after the other, so a working partition can look blocked for a moment.
CHECKED_AGAIN_AFTER_S = 0.3


def total_of(several: Iterable[Backlog]) -> Backlog:
    """The sum of several backlogs as one backlog, with the age of the oldest record of all."""
    backlogs_ = list(several)
    ages = [one.oldest_ms for one in backlogs_ if one.oldest_ms is not None]
    at_most = any(one.at_most for one in backlogs_)
    return Backlog(sum(one.records for one in backlogs_), at_most, min(ages, default=None))


class StageLag(NamedTuple):
    """The lag of one stage. `partitions`: the backlog by input partition.

    `started`: the stage's group has committed an offset for every partition. `not_read`: the partitions that the stage
    does not read. `not_read_unknown`: why these are not known, else empty. `members`: the number of members that the
    group has now; if it is None, `members_unknown` has the reason. `sink`: the sink's name if the pipeline has several.
    """

    stage: str
    group: str
    partitions: dict[Partition, Backlog]
    started: bool
    not_read: Mapping[Partition, NotRead]
    not_read_unknown: str = ""
    members: int | None = None
    sink: str = ""
    members_unknown: str = ""

    @property
    def total(self) -> Backlog:
        """The backlog of the whole stage: the sum over its input partitions."""
        return total_of(self.partitions.values())

    def to_json(self, now_s: float) -> dict[str, Any]:
        """The lag as JSON for programs: totals, and each partition that has a backlog or is not read.

        `now_s`: Unix seconds.
        """
        return {
            "group": self.group,
            "started": self.started,
            "members": self.members,
            **_backlog_json(self.total, now_s),
            "partitions": [
                {
                    "topic": at[0],
                    "partition": at[1],
                    **_backlog_json(one, now_s),
                    "not_read": self.not_read[at]._asdict() if at in self.not_read else None,
                }
                for at, one in self.partitions.items()
                if one.records or at in self.not_read
            ],
            "not_read_unknown": self.not_read_unknown or None,
            "members_unknown": self.members_unknown or None,
        }


class LagMeter:
    """Measures the lag of all stages of a pipeline. The Kafka clients stay open between measurements, until `close`.

    `unmapped`: the streams that no mapping reads. Each method except `close` blocks, and raises Transient if Kafka does
    not answer.
    """

    def __init__(self, pipeline: Pipeline, settings: KafkaSettings) -> None:
        self._pipeline = pipeline
        self._kafka = settings
        self._admin: AdminClient = clients.admin(settings)
        self._reader = LogReader(settings)
        self._dead_letters = DeadLetterCounts(self._reader, pipeline.names)
        mappings = load_mappings(pipeline)
        self.unmapped = unmapped(pipeline, mappings)
        self._inputs = stage_inputs(pipeline, mappings, load_entities(pipeline))

    def close(self) -> None:
        self._reader.close()

    def faults(self) -> ActiveFaults:
        return active_faults(self._reader, self._pipeline.names)

    def sources(self) -> list[SourceLag]:
        """The lag of each source. Raises EnvironmentFault for a fault of Kafka; a source's fault is in its `why`."""
        return source_lags(self._pipeline, self._reader)

    def dead_letters(self) -> list[StageDeadLetters]:
        """The kept dead letters of each stage. Raises EnvironmentFault if an operator must repair something."""
        return self._dead_letters.read()

    def measure(self) -> list[StageLag]:
        """The lag of each stage, in the order of the flow. Raises EnvironmentFault if an input topic is missing."""
        return [self._of(inputs) for inputs in self._inputs]

    def left_over(self) -> list[str]:
        """Raw topics that no source of the pipeline writes. Golden records keep the values from there for ever."""
        names = self._pipeline.names
        declared = {names.raw(one.source, one.stream) for one in self._pipeline.streams()}
        return sorted(
            name for name in self._reader.topics() if name.startswith(names.raw_prefix) and name not in declared
        )

    def pollers(self) -> tuple[int | None, str]:
        """The number of processes that poll sources, and an empty text; None and the reason if it is not known."""
        return self._members(self._pipeline.names.group(INGRESS_POLLER))

    def _of(self, inputs: StageInputs) -> StageLag:
        pinned = self._topics
        partitions = [(topic, p) for topic in inputs.topics for p in range(pinned[topic].partitions)]
        # The committed offsets are read before the ends. If the group commits in between, the lag is too large rather
        # than too small.
        committed = committed_offsets(self._kafka, inputs.group, partitions)
        begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions, committed=True)
        not_read, unknown = self._not_read(inputs, begins, committed)
        spans = {at: (max(_next_offset(at, committed, not_read), begins[at]), ends[at]) for at in partitions}
        members, members_unknown = self._members(inputs.group)
        return StageLag(
            inputs.stage,
            inputs.group,
            backlogs(self._reader, spans),
            all(at in committed for at in partitions),
            not_read,
            unknown,
            members,
            inputs.sink if len(self._pipeline.sinks) > 1 else "",
            members_unknown,
        )

    def _members(self, group: str) -> tuple[int | None, str]:
        try:
            return members_of(self._admin, group), ""
        except (EnvironmentFault, Transient) as error:
            return None, str(error)

    def _not_read(
        self, inputs: StageInputs, begins: Mapping[Partition, int], committed: Mapping[Partition, int]
    ) -> tuple[dict[Partition, NotRead], str]:
        """The partitions that a stage does not read, and an empty text.

        If an error occurs, the result is no partition and the text of the error, so that the lag is still shown.
        """
        try:
            found = self._read_once(inputs, begins, committed)
            if any(one.kind == "blocked" for one in found.values()):
                time.sleep(CHECKED_AGAIN_AFTER_S)
                again = self._read_once(inputs, begins, committed_offsets(self._kafka, inputs.group, begins))
                found = {at: again[at] for at in found if at in again}
        except (EnvironmentFault, SettingsError, Transient) as error:
            return {}, str(error)
        return found, ""

    def _read_once(
        self, inputs: StageInputs, begins: Mapping[Partition, int], committed: Mapping[Partition, int]
    ) -> dict[Partition, NotRead]:
        facts = read_input_facts(self._reader, self._pipeline, inputs, self._topics, begins, committed)
        return partitions_not_read(facts, self._reader, self._pipeline.names.control)

    @cached_property
    def _topics(self) -> dict[str, Pinned]:
        return self._reader.pinned([topic for inputs in self._inputs for topic in inputs.topics])


def _next_offset(at: Partition, committed: Mapping[Partition, int], not_read: Mapping[Partition, NotRead]) -> int:
    """The first offset of a partition that the group has not read.

    It is below the committed offset if the group was moved forward.
    """
    one, offset = not_read.get(at), committed.get(at, 0)
    return offset if one is None or one.unread_from is None else min(offset, one.unread_from)


def _backlog_json(backlog: Backlog, now_s: float) -> dict[str, Any]:
    return {"records": backlog.records, "at_most": backlog.at_most, "seconds": round(backlog.age_s(now_s), 3)}
