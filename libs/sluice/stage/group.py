"""The consumer of a stage's group. It reads records and ends of partitions in order, and can pause and seek partitions.

Rebalance callbacks only note which partitions were assigned or revoked. The loop acts on these notes after the
callback. Only `before_revoke`, if the owner of the reader gives one, runs in a callback, and may block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from sluice.errors import Bug, EnvironmentFault, Transient
from sluice.kafka import clients
from sluice.kafka.faults import kafka_errors, translate
from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record, record_of
from sluice.settings.kafka import KafkaSettings

REQUEST_TIMEOUT_S = 10.0
END_TIMEOUT_S = 1.0


class GroupReader:
    """A member of the consumer group `group`. `topic_ids`: the id of each topic that the group reads, pinned at the
    start.

    `assigned` and `revoked`: the partitions that rebalances assigned and revoked since the loop emptied these lists.
    `before_revoke` is called with the partitions that this process is about to lose.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        instance: str,
        topic_ids: Mapping[str, str],
        before_revoke: Callable[[list[Partition]], None] = lambda partitions: None,
    ) -> None:
        self.group = group
        self._settings = settings
        self.instance = instance
        self.topic_ids = topic_ids
        self._before_revoke = before_revoke
        self._incremental = settings.group_protocol == "consumer"
        self._consumer: Consumer | None = None
        self.assigned: list[Partition] = []
        self.revoked: list[Partition] = []

    def open(self) -> None:
        """Join the group. If this process was a member already, it leaves first, and its partitions are revoked."""
        self.close()
        consumer = clients.group_consumer(self._settings, self.group, self.instance)
        consumer.subscribe(
            list(self.topic_ids), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        self._consumer = consumer

    def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def take(self, records_max: int, timeout_s: float) -> list[Record | End]:
        """The records and ends that arrive within `timeout_s`, in order per partition."""
        taken: list[Record | End] = []
        consumer = self._open()
        with kafka_errors(f"group {self.group}: reading {', '.join(self.topic_ids)}"):
            first = consumer.poll(timeout_s)
            # With a timeout, `consume` waits until it has `records_max` records, which would add to the latency of
            # each.
            messages = [] if first is None else [first, *consumer.consume(records_max, 0)]
        for message in messages:
            error = message.error()
            if error is None:
                taken.append(record_of(message))
            elif error.name() == "_PARTITION_EOF":
                taken.append(End(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))
            else:
                self._raise(error, message)
        return taken

    def committed(self, at: Partition) -> int | None:
        """The group's committed offset of partition `at`, None if the group has none. Waits for the end of an open
        transaction that contains an offset of this partition."""
        with kafka_errors(f"group {self.group}: committed offset of {at[0]}/{at[1]}"):
            found = self._open().committed([TopicPartition(*at)], REQUEST_TIMEOUT_S)
            if found[0].error is not None:
                raise KafkaException(found[0].error)
        return found[0].offset if found[0].offset >= 0 else None

    def read_from(self, at: Partition, offset: int) -> None:
        """Read partition `at` from `offset` on. A paused partition is resumed."""
        with kafka_errors(f"group {self.group}: reading {at[0]}/{at[1]} from {offset} on"):
            self._open().seek(TopicPartition(*at, offset))
            self._open().resume([TopicPartition(*at)])

    def pause(self, at: Partition) -> None:
        """Do not read partition `at` until `read_from` is called for it."""
        with kafka_errors(f"group {self.group}: pausing {at[0]}/{at[1]}"):
            self._open().pause([TopicPartition(*at)])

    def high_watermark(self, at: Partition) -> int:
        """The end offset of partition `at` that the last fetch reported; negative before the first fetch."""
        with kafka_errors(f"group {self.group}: the fetched end of {at[0]}/{at[1]}"):
            return int(self._open().get_watermark_offsets(TopicPartition(*at), cached=True)[1])

    def end(self, at: Partition) -> int:
        """The current end offset of partition `at`. Asks the partition's leader, and blocks for up to one second.

        Raises Transient or EnvironmentFault if the leader does not answer or refuses."""
        with kafka_errors(f"group {self.group}: asking for the end of {at[0]}/{at[1]}"):
            return int(self._open().get_watermark_offsets(TopicPartition(*at), END_TIMEOUT_S, cached=False)[1])

    def commit(self, offsets: dict[Partition, int]) -> None:
        """Commit `offsets` outside a transaction, and wait for the answer. Call it only when the effects of the records
        below these offsets are durable."""
        parts = [TopicPartition(*at, offset) for at, offset in offsets.items()]
        partitions = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(offsets))
        with kafka_errors(f"group {self.group}: committing offsets of {partitions or 'no partition'}"):
            self._open().commit(offsets=parts, asynchronous=False)

    def metadata(self) -> Any:
        """The group metadata, by which Kafka fences a transaction with the group's generation."""
        with kafka_errors(f"group {self.group}: its generation"):
            return self._open().consumer_group_metadata()

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise Bug(f"group {self.group} is read before it is joined")
        return self._consumer

    def _on_assign(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        # Assign offset 0, not OFFSET_BEGINNING: librdkafka asks the broker for the beginning, and its answer may arrive
        # after `read_from` and move the consumer back.
        assigned = [TopicPartition(p.topic, p.partition, 0) for p in parts]
        if self._incremental:
            consumer.incremental_assign(assigned)
        else:
            consumer.assign(assigned)
        consumer.pause(assigned)
        self.assigned += [(p.topic, p.partition) for p in parts]

    def _on_revoke(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        revoked = [(p.topic, p.partition) for p in parts]
        self._before_revoke(revoked)
        self.assigned = [at for at in self.assigned if at not in revoked]
        self.revoked += revoked
        if self._incremental:
            consumer.incremental_unassign(parts)
        else:
            consumer.unassign()

    def _raise(self, error: KafkaError, message: Message) -> None:
        where = f"group {self.group}, {message.topic()}/{message.partition()}"
        name = error.name()
        if name in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE", "_LOG_TRUNCATION"):
            # After the next join, the start of this partition finds out whether the offset lies before the begin of the
            # log or beyond its end, and refuses this partition only.
            raise ConsumerLost(f"{where}: offset {message.offset()} is not in the log")
        if error.fatal() or name == "_MAX_POLL_EXCEEDED":
            raise ConsumerLost(f"{where}: {name}")
        ours = translate(KafkaException(error), where)
        if isinstance(ours, EnvironmentFault) and message.topic() is not None:
            raise Unreadable(ours, (str(message.topic()), int(message.partition() or 0)))
        raise ours


class Unreadable(EnvironmentFault):
    """A fault of one partition, `at`, which cannot be read. Other partitions can be."""

    def __init__(self, fault: EnvironmentFault, at: Partition) -> None:
        super().__init__(fault.where, fault.why, fault.next_step)
        self.at = at


class ConsumerLost(Transient):
    """This process is no longer a member of its group, or must leave it: join the group again."""
