"""The lag of a pipeline's stages, measured from outside: no stage needs to run for it."""

from __future__ import annotations

from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient

from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics
from sluice.lag.backlog import Backlog, backlogs
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings


class StageLag(NamedTuple):
    """The backlog of one stage by input partition. `begun`: the group has committed something on every partition."""

    stage: str
    group: str
    partitions: dict[Partition, Backlog]
    begun: bool

    @property
    def total(self) -> Backlog:
        """All partitions as one backlog."""
        several = self.partitions.values()
        ages = [one.oldest_ms for one in several if one.oldest_ms is not None]
        return Backlog(
            sum(one.records for one in several), any(one.at_most for one in several), min(ages, default=None)
        )

    def to_json(self, now_s: float) -> dict[str, Any]:
        """For programs: totals, and the partitions that have something left."""
        left = {at: one for at, one in self.partitions.items() if one.records}
        return {
            "group": self.group,
            "begun": self.begun,
            **_told(self.total, now_s),
            "partitions": [{"topic": t, "partition": p, **_told(one, now_s)} for (t, p), one in left.items()],
        }


class LagMeter:
    """Measures all stages of a pipeline; keeps its clients between measurements."""

    def __init__(self, pipeline: Pipeline, settings: KafkaSettings) -> None:
        self._kafka = settings
        self._admin: AdminClient = clients.admin(settings)
        self._reader = LogReader(settings)
        self._inputs = stage_inputs(pipeline, load_mappings(pipeline), load_entities(pipeline))
        self._partitions: dict[str, int] = {}

    def close(self) -> None:
        self._reader.close()

    def measure(self) -> list[StageLag]:
        """Every stage's lag, in the order of the flow. Raises EnvironmentFault for missing topics, or Transient."""
        return [self._of(inputs) for inputs in self._inputs]

    def _of(self, inputs: StageInputs) -> StageLag:
        partitions = [(topic, p) for topic in inputs.topics for p in range(self._count(topic))]
        # Committed first: a group that goes on meanwhile then shows too much rather than too little.
        committed = committed_offsets(self._kafka, inputs.group, partitions)
        begins, ends = self._reader.beginnings(partitions), self._reader.ends(partitions, committed=True)
        spans = {at: (max(committed.get(at, 0), begins[at]), ends[at]) for at in partitions}
        begun = all(at in committed for at in partitions)
        return StageLag(inputs.stage, inputs.group, backlogs(self._reader, spans), begun)

    def _count(self, topic: str) -> int:
        if not self._partitions:
            topics = [topic for inputs in self._inputs for topic in inputs.topics]
            pinned = Topics(self._admin).pinned(topics)
            self._partitions = {name: about.partitions for name, about in pinned.items()}
        return self._partitions[topic]


def _told(backlog: Backlog, now_s: float) -> dict[str, Any]:
    return {"records": backlog.records, "at_most": backlog.at_most, "seconds": round(backlog.age_s(now_s), 3)}
