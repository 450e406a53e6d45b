"""Consumer groups seen and moved from outside, as an operator's command does."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault
from sluice.kafka.faults import AdminAnswer
from sluice.kafka.log import Partition

TIMEOUT_S = 15.0
ANSWER_GRACE_S = 5.0  # librdkafka tells its own timeout a moment after it is over


def members_of(admin: AdminClient, group: str, timeout_s: float = TIMEOUT_S) -> int:
    """How many members the group has now; 0 also where there is no such group."""
    future = admin.describe_consumer_groups([group], request_timeout=timeout_s)[group]
    with AdminAnswer(f"describing group {group}", "GROUP_ID_NOT_FOUND"):
        return len(future.result(timeout_s + ANSWER_GRACE_S).members)
    return 0


def set_offsets(admin: AdminClient, group: str, offsets: Mapping[Partition, int]) -> None:
    """Set the committed offsets of a group without members. Raises EnvironmentFault when it has some."""
    parts = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
    asked = ConsumerGroupTopicPartitions(group, parts)
    future = admin.alter_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)[group]
    with AdminAnswer(f"setting offsets of group {group}"):
        answered = future.result(TIMEOUT_S + ANSWER_GRACE_S).topic_partitions
    for part in answered:
        if part.error is not None:
            raise EnvironmentFault(
                f"group {group}, {part.topic}/{part.partition}",
                f"its offset cannot be set ({part.error.name()})",
                "stop all members of the group, then run this again",
            )
