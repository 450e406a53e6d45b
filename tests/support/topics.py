"""Topics that a test creates or configures itself."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from sluice.kafka.topics import Topics
from support.pace import within


def make_topics(admin: AdminClient, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
    """Create topics and wait until they can be used: a broker shows a new topic a moment after its creation."""
    new = [NewTopic(name, count, 1, config=dict(config or {})) for name, count in partitions.items()]
    for made in admin.create_topics(new, request_timeout=within(30)).values():
        made.result(within(30))
    Topics(admin, within(30)).await_leaders(list(partitions))


def set_config(admin: AdminClient, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(within(30))
