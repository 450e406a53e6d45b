"""The consumer groups of a pipeline's stages: which topics each group reads, and which offsets it has committed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from sluice.entities import Mapping
from sluice.kafka import KafkaSettings, clients
from sluice.kafka.faults import kafka_errors
from sluice.kafka.log import Partition
from sluice.names import MAPPER, MERGER, SINK_POSTGRES
from sluice.pipeline import Pipeline

TIMEOUT_S = 10.0


class StageInputs(NamedTuple):
    """The consumer group of a stage and the topics that it reads.

    `stage`: the stage's name, as in `sluice run`. `sink`: the sink's name if the stage is a sink, else empty.
    """

    stage: str
    group: str
    topics: tuple[str, ...]
    sink: str = ""


def stage_inputs(pipeline: Pipeline, mappings: Iterable[Mapping] | None, entities: Iterable[str]) -> list[StageInputs]:
    """The groups and input topics of every stage that reads Kafka, in the order of the flow.

    Raw topics that none of `mappings` reads are left out. If `mappings` is None, no raw topic is left out.
    """
    names = pipeline.names
    read = None if mappings is None else {(mapping.source, mapping.stream) for mapping in mappings}
    raw = [names.raw(s.source, s.stream) for s in pipeline.streams() if read is None or (s.source, s.stream) in read]
    known = tuple(entities)
    sinks = [
        StageInputs(SINK_POSTGRES, pipeline.sink_group(sink), tuple(map(names.canonical, known)), sink)
        for sink in pipeline.sinks
    ]
    return [
        StageInputs(MAPPER, names.group(MAPPER), tuple(raw)),
        StageInputs(MERGER, names.group(MERGER), tuple(map(names.contributions, known))),
        *sinks,
    ]


def committed_offsets(settings: KafkaSettings, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The committed offsets of a group for `partitions`. A partition without a committed offset is left out.

    A consumer that never joins the group reads the offsets, because librdkafka's admin client has two bugs. It crashes
    the process if the coordinator is not ready (librdkafka #5040). After a time-out it never finishes closing (2.16: a
    broker thread keeps its reference), so the process hangs at its end.

    Blocks. Raises Transient if Kafka does not answer, EnvironmentFault if it refuses the request.
    """
    consumer = clients.group_consumer(settings, group, "offsets")
    try:
        return offsets_committed_by(group, consumer, partitions)
    finally:
        consumer.close()


def offsets_committed_by(
    group: str, consumer: Consumer, partitions: Iterable[Partition], timeout_s: float = TIMEOUT_S
) -> dict[Partition, int]:
    """The committed offsets of a group for `partitions`, read with `consumer`, which stays open.

    A partition without a committed offset is left out. Blocks for at most `timeout_s`.
    """
    with kafka_errors(f"committed offsets of group {group}"):
        found = consumer.committed([TopicPartition(*at) for at in partitions], timeout_s)
    return {(tp.topic, tp.partition): tp.offset for tp in found if tp.error is None and tp.offset >= 0}
