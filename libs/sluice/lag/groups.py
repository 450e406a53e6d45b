"""Which consumer group reads which topics of a pipeline, and what each group has committed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from sluice.entities import Mapping
from sluice.golden.sinks import sink_group
from sluice.kafka import KafkaSettings, clients
from sluice.kafka.faults import kafka_errors
from sluice.kafka.log import Partition
from sluice.names import MAPPER, MERGER, SINK_POSTGRES
from sluice.pipeline import Pipeline

TIMEOUT_S = 10.0


class StageInputs(NamedTuple):
    """A consumer group and its topics. `stage`: its name for `sluice run`; `sink`: a sink's name, else empty."""

    stage: str
    group: str
    topics: tuple[str, ...]
    sink: str = ""


def stage_inputs(pipeline: Pipeline, mappings: Iterable[Mapping] | None, entities: Iterable[str]) -> list[StageInputs]:
    """Every stage that reads Kafka, in the order of the flow. Raw topics that none of `mappings` reads are left out;
    with `mappings` None, all raw topics count."""
    names = pipeline.names
    read = None if mappings is None else {(mapping.source, mapping.stream) for mapping in mappings}
    raw = [names.raw(s.source, s.stream) for s in pipeline.streams() if read is None or (s.source, s.stream) in read]
    known = tuple(entities)
    sinks = [
        StageInputs(SINK_POSTGRES, sink_group(pipeline, sink), tuple(map(names.canonical, known)), sink)
        for sink in pipeline.sinks
    ]
    return [
        StageInputs(MAPPER, names.group(MAPPER), tuple(raw)),
        StageInputs(MERGER, names.group(MERGER), tuple(map(names.contributions, known))),
        *sinks,
    ]


def committed_offsets(settings: KafkaSettings, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The group's committed offsets of `partitions`, as far as it has any. Raises Transient or EnvironmentFault.

    A consumer that never joins asks. librdkafka's admin client crashes the process when the coordinator is not ready
    (librdkafka #5040). After a time-out it never finishes closing (2.16: a broker thread keeps its reference), and the
    process hangs when it ends.
    """
    consumer = clients.group_consumer(settings, group, "offsets")
    try:
        return offsets_committed_by(group, consumer, partitions)
    finally:
        consumer.close()


def offsets_committed_by(
    group: str, consumer: Consumer, partitions: Iterable[Partition], timeout_s: float = TIMEOUT_S
) -> dict[Partition, int]:
    """The same with a `consumer` of the group that stays open."""
    with kafka_errors(f"committed offsets of group {group}"):
        found = consumer.committed([TopicPartition(*at) for at in partitions], timeout_s)
    return {(tp.topic, tp.partition): tp.offset for tp in found if tp.error is None and tp.offset >= 0}
