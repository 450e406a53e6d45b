"""How a batch becomes durable together with the offsets of its records. Only this module commits offsets of processed
records; `sluice.stage.start` commits the first offset of a new group.

There are two orders. Both commit no offset before the effects of its records are durable:
* `KafkaDelivery`: outputs, state, ledger and offsets in one transaction, fenced by the group's generation.
* `DirectDelivery`: dead letters flushed, then the writer's own commit, then the offsets. The loop reads the records of
  the next batch meanwhile.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from msgspec.structs import astuple

from sluice.errors import Bug, EnvironmentFault
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
# After this time, the loop waits for the batch in flight and does nothing else. Otherwise `Health.watch` would never
# see that a writer hangs.
BUSY_MAX_S = 5.0
# A writer that needs more time than this for a batch is a fault. The end of a pass has two statements of up to four
# minutes each.
WRITE_MAX_S = 600.0


class Delivered(NamedTuple):
    """A batch that is durable. `owned`: the partitions with the offsets that are or will be committed.

    `offsets_after`: for each output partition whose offsets the delivery knows, the offset after our last record.
    """

    batch: Batch
    owned: Sequence[Owned]
    offsets_after: dict[Partition, int]


class Delivery(ABC):
    """One batch at most is *in flight*: its delivery has started and is not finished. `busy`, `finish`,
    `commit_offsets` and `give_up` are overridden by a delivery that leaves a batch in flight."""

    dlq_topic: str

    @abstractmethod
    def open(self) -> None:
        """Prepare to deliver, and fence an earlier process with the same transactional id, if there are transactions.
        Called at the start, and after TransactionLost or the loss of the group membership."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> Delivered | None:
        """Make `batch` durable and commit the next offset of each of `owned`, or start to make it durable.

        Called when no batch is in flight. Returns the batch if it is durable, None if it is in flight.

        Raises Transient if certainly no effect is durable, TransactionLost if this is unknown.
        """

    @property
    def busy(self) -> bool:
        """Whether a batch is in flight, and `finish` would wait for it."""
        return False

    def finish(self) -> Delivered | None:
        """Wait until the batch in flight is durable, and return it; None if there is none. Raises the errors of
        `deliver`."""
        return None

    def commit_offsets(self, reader: GroupReader) -> None:
        """Commit the offsets of the last batch that `finish` returned, if they are not committed yet."""
        return

    def give_up(self) -> None:
        """Wait until no batch is in flight, and ignore its outcome: the loop reads its records again."""
        return


class KafkaDelivery(Delivery):
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

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> Delivered | None:
        partitions = list(owned)
        offsets_after: dict[Partition, int] = {}
        with self._producer.transaction():
            self._produce(batch, offsets_after)
            offsets = [self._write_record(o, batch, reader.group, offsets_after) for o in partitions]
            # Commit the offsets of all owned partitions, also of unchanged ones: Kafka then fences this process if it
            # lost a partition of which it has read nothing.
            self._producer.commit(offsets, reader.metadata())
        for one in partitions:
            one.must_write = False
        return Delivered(batch, partitions, offsets_after)

    def _produce(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        # A callback for each message costs one eighth of the throughput, so only the last message of a partition has
        # one.
        last: dict[Partition, int] = {}
        if self._reported_topics:
            last = {(o.topic, o.partition): i for i, o in enumerate(batch.outputs) if o.topic in self._reported_topics}
        reported, report = set(last.values()), _report(offsets_after)
        produce = self._producer.produce
        for index, one in enumerate(batch.outputs):
            callback = report if index in reported else None
            produce(one.topic, one.key, one.value, one.headers, one.partition, on_delivery=callback)

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
    to the batch. A thread of the delivery calls all methods, while the loop handles the records of the next batch."""

    def write(self, batch: Batch, owned: Iterable[Owned]) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


class _InFlight(NamedTuple):
    """`snapshot`: copies of the partitions, as they were when the delivery started. `owned`: the partitions themselves,
    which the loop changes meanwhile. `written`: the end of the delivery."""

    batch: Batch
    snapshot: list[Owned]
    owned: list[Owned]
    written: Future[None]
    started_at_s: float


class DirectDelivery(Delivery):
    """Delivers a batch without a transaction of Kafka: flush the dead letters, commit the writer, commit the offsets.
    Each step waits until the effects of the previous step are durable.

    A thread writes and commits the batch in flight, while the loop handles the next batch: the writer mostly waits for
    its database. The loop's thread commits the offsets, while the next batch is written. It skips partitions that were
    revoked meanwhile, because their next owner may have committed higher offsets. A batch may thus be durable without
    its offsets, as after a crash. Its records are then written again, which the writer's guard accepts, and no stalled
    writer overtakes: the writer's leases are locked until its commit.

    A writer can be waited for, but not stopped, because it uses its connection. So `finish` raises EnvironmentFault
    after WRITE_MAX_S, the loop reports the fault, and then waits for the writer in `give_up`.
    """

    def __init__(self, settings: KafkaSettings, dlq_topic: str, writer: Writer) -> None:
        self.dlq_topic = dlq_topic
        self._settings = settings
        self._writer = writer
        self._producer: Producer | None = None
        self._thread = ThreadPoolExecutor(1, "delivery")
        self._in_flight: _InFlight | None = None
        self._uncommitted: dict[Partition, int] = {}

    def open(self) -> None:
        self._producer = clients.producer(self._settings)

    def close(self) -> None:
        self.give_up()
        self._thread.shutdown()
        self._producer = None
        self._writer.rollback()

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> Delivered | None:
        partitions = list(owned)
        snapshot = [replace(one) for one in partitions]
        for one in partitions:
            one.must_write = False
        written = self._thread.submit(self._write, batch, snapshot)
        self._in_flight = _InFlight(batch, snapshot, partitions, written, time.monotonic())
        return None

    @property
    def busy(self) -> bool:
        one = self._in_flight
        return one is not None and not one.written.done() and time.monotonic() < one.started_at_s + BUSY_MAX_S

    def finish(self) -> Delivered | None:
        one = self._in_flight
        if one is None:
            return None
        wait([one.written], max(0.0, one.started_at_s + WRITE_MAX_S - time.monotonic()))
        if not one.written.done():
            raise _unfinished(one.batch)
        try:
            one.written.result()
        except BaseException:
            self.give_up()
            raise
        self._in_flight = None
        self._uncommitted = {copy.at: copy.next_offset for copy in one.snapshot}
        return Delivered(one.batch, one.snapshot, {})

    def commit_offsets(self, reader: GroupReader) -> None:
        offsets, self._uncommitted = self._uncommitted, {}
        revoked = set(reader.revoked)
        if offsets := {at: offset for at, offset in offsets.items() if at not in revoked}:
            reader.commit(offsets)

    def give_up(self) -> None:
        one, self._in_flight = self._in_flight, None
        self._uncommitted = {}
        if one is None:
            return
        wait([one.written])
        for copy, owned in zip(one.snapshot, one.owned, strict=True):
            owned.must_write |= copy.must_write

    def _write(self, batch: Batch, owned: Sequence[Owned]) -> None:
        try:
            self._writer.write(batch, owned)
            self._flush(batch)
            self._writer.commit()
        except BaseException:
            self._writer.rollback()
            raise

    def _flush(self, batch: Batch) -> None:
        if not batch.outputs:
            return
        if self._producer is None:
            raise Bug("the delivery is used before it is open")
        doing = f"writing dead letters to {batch.outputs[0].topic}"
        write_all(self._producer, map(astuple, batch.outputs), doing, FLUSH_TIMEOUT_S)


def _unfinished(batch: Batch) -> EnvironmentFault:
    return EnvironmentFault(
        "writing a batch",
        f"the writer has not finished its {batch.handled} records after {WRITE_MAX_S:.0f} s, which is longer than the "
        "time-outs of its statements",
        "check that the database answers, and read its log; the stage goes on when the writer returns. If it does not "
        "return, restart the stage",
    )


def _report(offsets_after: dict[Partition, int]) -> Any:
    def remember(error: KafkaError | None, message: Message) -> None:
        if error is None:
            offsets_after[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0) + 1

    return remember
