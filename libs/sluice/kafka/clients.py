"""Creates the Kafka clients. Their settings replace every default of librdkafka with which data can be lost."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient

from sluice.settings.kafka import KafkaSettings

MIB = 1024 * 1024
MESSAGE_BYTES_MAX = 16 * MIB
SENT_BYTES_MAX = MESSAGE_BYTES_MAX + MIB
FETCHED_BYTES_MAX = MIB // 8
SESSION_TIMEOUT_MS = 6_000

REPEATED_AFTER_S = 10.0


class OncePerKind(logging.Filter):
    """A log filter that passes one line of each kind in ten seconds, because librdkafka logs a hundred lines a second
    while no broker answers.

    The kind is the first word of the line, which is librdkafka's name of the event.
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
    # librdkafka reports a wrong password only to this callback. Errors of single connections are logged for debugging.
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
    """An idempotent producer that chooses the same partition for a key as Kafka's Java client. It is transactional if a
    `transactional_id` is given."""
    config = _common(
        settings,
        **{
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "acks": "all",
            # A million outputs of a mapper cost client and broker 6.5 CPU s with lz4, 8 s with zstd. On disk, a record
            # has 222 bytes with lz4, 101 with zstd, 893 without compression.
            "compression.type": "lz4",
            # A commit sends all queued records at once. So linger.ms delays no commit. It only fills earlier batches.
            "linger.ms": 50,
            "batch.size": MIB,
            "message.max.bytes": SENT_BYTES_MAX,
            "queue.buffering.max.kbytes": 65_536,
            "queue.buffering.max.messages": 500_000,
        },
    )
    if transactional_id is not None:
        config["transactional.id"] = transactional_id
        config["transaction.timeout.ms"] = settings.transaction_timeout_ms
        # A transaction that starts while the broker still writes the markers of the previous one is refused, and is
        # tried again after this time. In 300 transactions in a row, one takes 23 to 53 ms with the default of 100 ms,
        # and 11 ms with 10 ms.
        config["retry.backoff.ms"] = 10
        # A message that is still queued when its transaction has timed out must not be sent.
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
            # These limits count compressed bytes, and librdkafka keeps a whole answer, decompressed, whatever its queue
            # already contains. With 16 MiB, a mapper kept 225 MiB of a backlog in its queue. The broker sends the first
            # record batch of an answer even if it is larger.
            "fetch.message.max.bytes": FETCHED_BYTES_MAX,
            "fetch.max.bytes": MIB,
            # A broker answers a fetch when a record arrives, else after fetch.wait.max.ms. In an idle pipeline of five
            # stages, the empty answers cost 9 % of a core with 100 ms, 6 % with 250 ms.
            "fetch.wait.max.ms": 250,
            # By default, librdkafka waits half a second before the next fetch when its queue is full. That would delay
            # every restore of state.
            "fetch.queue.backoff.ms": 20,
            "queued.max.messages.kbytes": settings.fetch_queue_kib,
        },
    )


def group_consumer(settings: KafkaSettings, group: str, instance: str) -> Consumer:
    """A consumer that joins the consumer group `group`, to read the input topics of a stage."""
    config = reader_config(settings, group)
    if settings.group_protocol == "consumer":
        # There is no static member id with the group protocol of KIP-848: if two members have one id, the broker
        # refuses the new member and keeps the old one.
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
    """A consumer that joins no consumer group and commits no offset. The caller assigns the partitions to read."""
    config = reader_config(settings, "sluice-log-reader")
    # The last record of a partition is often the control record of a transaction, which the client does not return.
    # Only an empty answer shows that the partition is read to its end, and the broker sends it after fetch.wait.max.ms.
    # With 100 ms, this wait was nine tenths of the time to read a few records.
    config["fetch.wait.max.ms"] = 10
    return Consumer(config)


def admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient(_common(settings))
