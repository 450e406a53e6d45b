"""Delivery: how a batch becomes durable together with the offsets it was made from. The only place that commits
what was read; a group that is born gets its first offset where its partition is begun.

Two orders, and both commit nothing before what it led to is durable:
* `KafkaDelivery`: outputs, state, ledger and offsets in one transaction, fenced by the group's generation.
* `DirectDelivery`: dead letters flushed, then the writer's own commit, then the offsets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from sluice.errors import Bug, Transient
from sluice.kafka import KafkaSettings, TransactionalProducer, clients
from sluice.kafka.faults import TOO_LARGE, too_large, translate
from sluice.kafka.log import Partition
from sluice.names import Names
from sluice.stage.batch import Batch, ledger_key, ledger_line
from sluice.stage.group import GroupReader
from sluice.stage.partition_record import partition_key
from sluice.stage.process import Owned

FLUSH_TIMEOUT_S = 10.0


class Delivery(Protocol):
    dlq_topic: str

    def open(self) -> None:
        """Fence whoever delivered before; also after TransactionLost."""
        ...

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> dict[Partition, int]:
        """Make `batch` durable, then its offsets. Returns the offsets behind our last record where they were learnt.

        Raises Transient when surely nothing was kept, TransactionLost when that is not known.
        """
        ...

    def close(self) -> None: ...


class KafkaDelivery:
    """One transaction a batch. `tracked`: topics whose written offsets are wanted back (views of our own output)."""

    def __init__(
        self, settings: KafkaSettings, names: Names, stage: str, instance: str, tracked: Iterable[str] = ()
    ) -> None:
        self._producer = TransactionalProducer(settings, names.transactional_id(stage, instance))
        self.dlq_topic = names.dlq(stage)
        self._names = names
        self._tracked = frozenset(tracked)

    def open(self) -> None:
        self._producer.fence()

    def close(self) -> None:
        self._producer.discard()

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> dict[Partition, int]:
        learnt: dict[Partition, int] = {}
        producer = self._producer
        producer.begin()
        try:
            self._produce(batch, learnt)
            offsets = [self._partition(o, batch, reader.group, learnt) for o in owned]
            # Offsets of all owned partitions, changed or not: a zombie that consumed nothing is fenced by them too.
            producer.commit(offsets, reader.metadata())
        except Transient:
            raise
        except BaseException:
            producer.abort()
            raise
        return learnt

    def _produce(self, batch: Batch, learnt: dict[Partition, int]) -> None:
        last = {(o.topic, o.partition): i for i, o in enumerate(batch.outputs) if o.topic in self._tracked}
        report = _report(learnt)
        for index, (topic, key, value, headers, partition) in enumerate(batch.outputs):
            # A callback for each message costs an eighth of the rate; the last of a partition tells enough.
            wanted = report if last.get((topic, partition)) == index else None
            self._producer.produce(topic, key, value, headers, partition, on_delivery=wanted)

    def _partition(self, owned: Owned, batch: Batch, group: str, learnt: dict[Partition, int]) -> TopicPartition:
        at, before = owned.at, owned.committed
        next_offset = batch.next_offsets.get(at, owned.next_offset)
        if next_offset != before or at in batch.touched or owned.fresh:
            view = owned.view
            owned.record.processed = next_offset
            key, value = partition_key(at[1]), owned.record.to_json()
            # The view must hold it too: its checkpoint will lie behind the record.
            view.put(key, value)
            # Last of the batch in its partition, so that its offset is a checkpoint for all of them.
            self._producer.produce(
                view.topic,
                key,
                value,
                partition=view.partition,
                on_delivery=_report(learnt),
            )
            start = next_offset if before is None else before
            line = ledger_line(start, next_offset, batch.counts[at], owned.reset, owned.record.versions)
            self._producer.produce(self._names.ledger, ledger_key(group, *at), line, partition=0)
        return TopicPartition(*at, next_offset)


class Writer(Protocol):
    """An effect outside Kafka: `write` does everything but commit and may add dead letters to the batch."""

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class DirectDelivery:
    """Dead letters flushed → the writer's commit → the offsets: each only after the one before it is durable."""

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
        mine = list(owned)
        try:
            self._writer.write(batch, mine)
            self._flush(batch)
            self._writer.commit()
        except BaseException:
            self._writer.rollback()
            raise
        changed = {o.at: batch.next_offsets.get(o.at, o.next_offset) for o in mine}
        reader.commit(changed)
        return {}

    def _flush(self, batch: Batch) -> None:
        if not batch.outputs:
            return
        if self._producer is None:
            raise Bug("delivery is used before it is opened")
        failed: list[KafkaError] = []

        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)

        doing = f"writing dead letters to {batch.outputs[0].topic}"
        try:
            for topic, key, value, headers, partition in batch.outputs:
                self._producer.produce(topic, value, key, partition, headers=list(headers), on_delivery=report)
        except KafkaException as error:  # known at once, such as a topic that is not there
            self._producer.purge()
            raise translate(error, doing) from None
        waiting = self._producer.flush(FLUSH_TIMEOUT_S)
        if waiting or failed:
            self._producer.purge()
            raise self._refused(doing, failed[0], batch) if failed else Transient(f"{doing}: no answer")

    @staticmethod
    def _refused(doing: str, error: KafkaError, batch: Batch) -> Exception:
        if error.name() == TOO_LARGE:
            return too_large(doing, {batch.outputs[0].topic: max(output.size_bytes for output in batch.outputs)})
        return translate(KafkaException(error), doing)


def _report(learnt: dict[Partition, int]) -> Any:
    def remember(error: KafkaError | None, message: Message) -> None:
        if error is None:
            learnt[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0) + 1

    return remember
