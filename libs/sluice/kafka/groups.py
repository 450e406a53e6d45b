"""Reads and sets the state of consumer groups, for the commands of an operator."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.errors import EnvironmentFault
from sluice.kafka.faults import ANSWER_GRACE_S, admin_answer
from sluice.kafka.log import Partition

TIMEOUT_S = 15.0


def members_of(admin: AdminClient, group: str, timeout_s: float = TIMEOUT_S) -> int:
    """The number of members that the consumer group `group` has now; 0 also if the group does not exist.

    Raises EnvironmentFault if Kafka does not answer or refuses the request.
    """
    future = admin.describe_consumer_groups([group], request_timeout=timeout_s)[group]
    members = []
    with admin_answer(f"describing group {group}", "GROUP_ID_NOT_FOUND"):
        members = future.result(timeout_s + ANSWER_GRACE_S).members
    return len(members)


def set_offsets(admin: AdminClient, group: str, offsets: Mapping[Partition, int]) -> None:
    """Set the committed `offsets` (partition → next offset) of the consumer group `group`.

    Raises EnvironmentFault if the group still has members, or if Kafka does not answer.
    """
    parts = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
    asked = ConsumerGroupTopicPartitions(group, parts)
    future = admin.alter_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)[group]
    with admin_answer(f"setting offsets of group {group}"):
        answered = future.result(TIMEOUT_S + ANSWER_GRACE_S).topic_partitions
    for part in answered:
        if part.error is not None:
            raise EnvironmentFault(
                f"group {group}, {part.topic}/{part.partition}",
                f"its offset cannot be set ({part.error.name()})",
                "stop all members of the group, then run this again",
            )
