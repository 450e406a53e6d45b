"""Which topics that are not of a table Debezium's settings require."""

from __future__ import annotations

from sluice.debezium_settings.read import DebeziumSettings


def transactions_name(settings: DebeziumSettings) -> str | None:
    """The last part of the transaction topic's name; None if the topic is not written."""
    return settings.text("topic.transaction") if settings.flag("provide.transaction.metadata") else None


def heartbeats_name(settings: DebeziumSettings) -> str | None:
    """The first part of the heartbeat topic's name; None if the topic is not written."""
    if not settings.number("heartbeat.interval.ms"):
        return None
    older = "heartbeat.topics.prefix"
    return settings.text(older if settings.is_given(older) else "topic.heartbeat.prefix")
