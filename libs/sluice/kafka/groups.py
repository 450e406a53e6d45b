"""Consumer groups seen and moved from outside, as an operator's command does."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault
from sluice.kafka.faults import kafka_error, translate
from sluice.kafka.log import Partition

TIMEOUT_S = 15.0


def members_of(admin: AdminClient, group: str) -> int:
    """How many members the group has now; 0 also where there is no such group."""
    future = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group]
    try:
        return len(future.result(TIMEOUT_S).members)
    except KafkaException as error:
        if kafka_error(error).name() == "GROUP_ID_NOT_FOUND":
            return 0
        raise translate(error, f"describing group {group}") from None


def set_offsets(admin: AdminClient, group: str, offsets: Mapping[Partition, int]) -> None:
    """Set the committed offsets of a group without members. Raises EnvironmentFault when it has some."""
    parts = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
    asked = ConsumerGroupTopicPartitions(group, parts)
    future = admin.alter_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)[group]
    try:
        answered = future.result(TIMEOUT_S).topic_partitions
    except KafkaException as error:
        raise translate(error, f"setting offsets of group {group}") from None
    for part in answered:
        if part.error is not None:
            raise EnvironmentFault(
                f"group {group}, {part.topic}/{part.partition}",
                f"its offset cannot be set ({part.error.name()})",
                "stop all members of the group, then run this again",
            )
