"""The clients' configuration, which replaces every default that loses data."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from sluice.settings.kafka import KafkaSettings

MIB = 1024 * 1024
MESSAGE_BYTES_MAX = 16 * MIB
SENT_BYTES_MAX = MESSAGE_BYTES_MAX + MIB
SESSION_TIMEOUT_MS = 6_000

REPEATED_AFTER_S = 10.0


class OncePerKind(logging.Filter):
    """A log filter that passes one line of a kind in ten seconds, because librdkafka logs a hundred lines a second
    while no broker answers.

    The kind is the line's first word, which is librdkafka's name of the event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.getMessage().partition(" ")[0]
        if record.created - self._logged_at.get(kind, float("-inf")) < REPEATED_AFTER_S:
            return False
        self._logged_at[kind] = record.created
        return True


_log = logging.getLogger("sluice.kafka.clients")
_library_log = logging.getLogger("sluice.kafka.librdkafka")
_log.addFilter(OncePerKind())
_library_log.addFilter(OncePerKind())


def _on_error(error: KafkaError) -> None:
    # A wrong password is reported only here. Errors of single connections are for debugging.
    level = logging.WARNING if error.name() in ("_AUTHENTICATION", "_SSL", "_ALL_BROKERS_DOWN") else logging.DEBUG
    _log.log(level, "%s at a Kafka client", error.name())


def _common(settings: KafkaSettings, **more: Any) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "error_cb": _on_error,
        "logger": _library_log,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "allow.auto.create.topics": False,
        **more,
        **settings.options,
    }


def producer(settings: KafkaSettings, transactional_id: str | None = None) -> Producer:
    """An idempotent producer that partitions keys as Java does; transactional if an id is given."""
    config = _common(
        settings,
        **{
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 5,
            "batch.size": MIB,
            "message.max.bytes": SENT_BYTES_MAX,
            "queue.buffering.max.kbytes": 65_536,
            "queue.buffering.max.messages": 500_000,
        },
    )
    if transactional_id is not None:
        config["transactional.id"] = transactional_id
        config["transaction.timeout.ms"] = settings.transaction_timeout_ms
        # A message may not outlive its transaction.
        config["message.timeout.ms"] = settings.transaction_timeout_ms
    return Producer(config)


def reader_config(settings: KafkaSettings, group: str) -> dict[str, Any]:
    return _common(
        settings,
        **{
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "check.crcs": True,
            "enable.partition.eof": True,
            "fetch.message.max.bytes": MESSAGE_BYTES_MAX,
            "fetch.max.bytes": MESSAGE_BYTES_MAX + MIB,
            # A broker answers at once when a record arrives. For an idle pipeline of five stages, ten empty answers a
            # second to each reader cost it 9 % of a core, four cost 6 %.
            "fetch.wait.max.ms": 250,
            # With the default, half a second passes between fetches when the queue is full: a stall in every restore.
            "fetch.queue.backoff.ms": 20,
            "queued.max.messages.kbytes": settings.fetch_queue_kib,
        },
    )


def group_consumer(settings: KafkaSettings, group: str, instance: str) -> Consumer:
    """A consumer that joins `group`: the only reader of a stage's input topics."""
    config = reader_config(settings, group)
    if settings.group_protocol == "consumer":
        # No static id: under this protocol the broker refuses the *new* member of an id, not the old one.
        config |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
    else:
        config |= {
            "partition.assignment.strategy": "range",
            "group.instance.id": f"{group}-{instance}",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
        }
    config["max.poll.interval.ms"] = 300_000
    return Consumer(config)


def log_consumer(settings: KafkaSettings) -> Consumer:
    """A consumer that joins no group and commits nothing: its partitions are assigned by the caller."""
    config = reader_config(settings, "sluice-log-reader")
    # A log ends in a transaction's marker. Only an empty answer shows that, and it comes after this wait, which was
    # nine tenths of the time to read a few records.
    config["fetch.wait.max.ms"] = 10
    return Consumer(config)


def admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient(_common(settings))
