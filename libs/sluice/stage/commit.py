"""How a batch becomes durable together with the offsets of its records. Only this module commits offsets of processed
records; `sluice.stage.start` commits the first offset of a new group.

There are two orders. Both commit no offset before the effects of its records are durable:
* `KafkaDelivery`: outputs, state, ledger and offsets in one transaction, fenced by the group's generation.
* `DirectDelivery`: dead letters flushed, then the writer's own commit, then the offsets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, Producer, TopicPartition

from sluice.errors import Bug
from sluice.kafka import KafkaSettings, TransactionalProducer, clients
from sluice.kafka.log import Partition
from sluice.kafka.writing import write_all
from sluice.names import Names
from sluice.stage.batch import Batch
from sluice.stage.group import GroupReader
from sluice.stage.ledger import ledger_key
from sluice.stage.partition_record import partition_key
from sluice.stage.process import Owned

FLUSH_TIMEOUT_S = 10.0


class Delivery(Protocol):
    dlq_topic: str

    def open(self) -> None:
        """Prepare to deliver, and fence an earlier process with the same transactional id, if there are transactions.
        Called at the start, and after TransactionLost or the loss of the group membership."""
        ...

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> dict[Partition, int]:
        """Make `batch` durable, then commit the next offset of each of `owned`.

        Returns, for each output partition whose offsets it knows, the offset after our last record. Raises Transient
        if certainly no effect is durable, TransactionLost if this is unknown.
        """
        ...

    def close(self) -> None: ...


class KafkaDelivery:
    """Delivers each batch in one Kafka transaction. `reported_topics`: the output topics whose offsets `deliver`
    returns, in addition to those of state topics."""

    def __init__(
        self, settings: KafkaSettings, names: Names, stage: str, instance: str, reported_topics: Iterable[str] = ()
    ) -> None:
        self._producer = TransactionalProducer(settings, names.transactional_id(stage, instance))
        self.dlq_topic = names.dlq(stage)
        self._names = names
        self._reported_topics = frozenset(reported_topics)

    def open(self) -> None:
        self._producer.fence()

    def close(self) -> None:
        self._producer.discard()

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> dict[Partition, int]:
        offsets_after: dict[Partition, int] = {}
        with self._producer.transaction():
            self._produce(batch, offsets_after)
            offsets = [self._write_record(o, batch, reader.group, offsets_after) for o in owned]
            # Commit the offsets of all owned partitions, also of unchanged ones: Kafka then fences this process if it
            # lost a partition of which it has read nothing.
            self._producer.commit(offsets, reader.metadata())
        return offsets_after

    def _produce(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        # A callback for each message costs one eighth of the throughput, so only the last message of a partition has
        # one.
        last: dict[Partition, int] = {}
        if self._reported_topics:
            last = {(o.topic, o.partition): i for i, o in enumerate(batch.outputs) if o.topic in self._reported_topics}
        reported, report = set(last.values()), _report(offsets_after)
        for index, (topic, key, value, headers, partition) in enumerate(batch.outputs):
            callback = report if index in reported else None
            self._producer.produce(topic, key, value, headers, partition, on_delivery=callback)

    def _write_record(
        self, owned: Owned, batch: Batch, group: str, offsets_after: dict[Partition, int]
    ) -> TopicPartition:
        """Write the partition record and the ledger line of `owned`, if one of them changed. Returns the offset to
        commit."""
        at, next_offset = owned.at, owned.next_offset
        if owned.must_be_written(batch):
            view = owned.view
            owned.record.processed = next_offset
            key, value = partition_key(at[1]), owned.record.to_json()
            # The view must contain the partition record too, because the view's checkpoint will be after that record.
            view.put(key, value)
            # The partition record is the last record of the batch in its state partition, so that the offset after it
            # is a checkpoint for the whole batch.
            report = _report(offsets_after)
            self._producer.produce(view.topic, key, value, partition=view.partition, on_delivery=report)
            line = owned.ledger_line(batch)
            self._producer.produce(self._names.ledger, ledger_key(group, *at), line, partition=0)
        return TopicPartition(*at, next_offset)


class Writer(Protocol):
    """Writes the effects of a batch outside Kafka. `write` does everything except the commit, and may add dead letters
    to the batch."""

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class DirectDelivery:
    """Delivers a batch without a transaction of Kafka: flush the dead letters, commit the writer, commit the offsets.
    Each step waits until the effects of the previous step are durable."""

    def __init__(self, settings: KafkaSettings, dlq_topic: str, writer: Writer) -> None:
        self.dlq_topic = dlq_topic
        self._settings = settings
        self._writer = writer
        self._producer: Producer | None = None

    def open(self) -> None:
        self._producer = clients.producer(self._settings)

    def close(self) -> None:
        self._producer = None
        self._writer.rollback()

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> dict[Partition, int]:
        partitions = list(owned)
        try:
            self._writer.write(batch, partitions)
            self._flush(batch)
            self._writer.commit()
        except BaseException:
            self._writer.rollback()
            raise
        reader.commit({one.at: one.next_offset for one in partitions})
        return {}

    def _flush(self, batch: Batch) -> None:
        if not batch.outputs:
            return
        if self._producer is None:
            raise Bug("the delivery is used before it is open")
        doing = f"writing dead letters to {batch.outputs[0].topic}"
        write_all(self._producer, batch.outputs, doing, FLUSH_TIMEOUT_S)


def _report(offsets_after: dict[Partition, int]) -> Any:
    def remember(error: KafkaError | None, message: Message) -> None:
        if error is None:
            offsets_after[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0) + 1

    return remember
