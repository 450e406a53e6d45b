"""Which consumer group reads which topics of a pipeline, and what each group has committed."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from sluice.entities import EntityContract, Mapping
from sluice.errors import Transient
from sluice.kafka.faults import kafka_error, translate
from sluice.kafka.groups import members_of
from sluice.kafka.log import Partition
from sluice.pipeline import Pipeline
from sluice.postgres.sinks import STAGE as SINK_STAGE
from sluice.postgres.sinks import sink_group

TIMEOUT_S = 10.0


class StageInputs(NamedTuple):
    """A consumer group and the topics it reads. `stage` is what `sluice run` calls it; `sink` is empty for others."""

    stage: str
    group: str
    topics: tuple[str, ...]
    sink: str = ""


def stage_inputs(
    pipeline: Pipeline, mappings: list[Mapping], contracts: dict[str, EntityContract]
) -> list[StageInputs]:
    """Every stage that reads Kafka, in the order of the flow. Raw topics that no mapping reads are nobody's input."""
    names = pipeline.names
    read = {(mapping.source, mapping.stream) for mapping in mappings}
    raw = tuple(names.raw(s.source, s.stream) for s in pipeline.streams() if (s.source, s.stream) in read)
    sinks = [
        StageInputs(SINK_STAGE, sink_group(pipeline, sink), tuple(map(names.canonical, contracts)), sink)
        for sink in pipeline.sinks
    ]
    return [
        StageInputs("mapper", names.group("mapper"), raw),
        StageInputs("merger", names.group("merger"), tuple(map(names.contributions, contracts))),
        *sinks,
    ]


def committed_offsets(admin: AdminClient, group: str) -> dict[Partition, int]:
    """The group's committed offsets; empty for a group that never was. Raises Transient or EnvironmentFault.

    librdkafka's admin client crashes the process when the answer is that the coordinator is not ready (its handler
    speaks to a group that an admin client has not: librdkafka #5040). Describing the group first asks the same
    coordinator by a request whose errors are handled.
    """
    members_of(admin, group)
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT_S)
    try:
        found = asked[group].result(TIMEOUT_S + 1).topic_partitions or []
    except KafkaException as error:
        if kafka_error(error).name() == "GROUP_ID_NOT_FOUND":
            return {}
        raise translate(error, f"committed offsets of group {group}") from None
    except TimeoutError:
        raise Transient(f"committed offsets of group {group}: no broker answers") from None
    return {(part.topic, part.partition): part.offset for part in found if part.offset >= 0}
