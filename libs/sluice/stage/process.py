"""The interface that each stage implements for the loop: how a partition starts, and the effects of one record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sluice.errors import Bug
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.stage.batch import Batch
from sluice.stage.ledger import ledger_line
from sluice.stage.partition_record import PartitionRecord
from sluice.state import View


class Handled(Enum):
    DONE = auto()
    """The effects of the record are in the batch."""
    AGAIN = auto()
    """Not finished: the partition is paused until `busy` is False, then `handle` gets the same record again."""


@dataclass(slots=True)
class Owned:
    """A partition that this process owns, with three offsets. The offsets say what was read. They never say which of
    two states is newer: only a position says that.

    * `committed`: the group's committed offset; None if it has none. After the start and before the first delivery, the
      offset from which the partition is read.
    * `next_offset`: the offset of the next record to process. The delivery of the open batch commits it.
    * `offered`: the offset after the last record that `handle` got; above `next_offset` while a record is not finished.

    `state`: the view that contains the partition record; None for a stage that stores the record elsewhere. `reset`:
    the partition started at another offset than the last owner committed. `must_write`: write the partition record with
    the next delivery, even if no offset moved.
    """

    at: Partition
    topic_id: str
    committed: int | None
    record: PartitionRecord
    state: View | None = None
    next_offset: int = 0
    offered: int = 0
    reset: bool = False
    must_write: bool = False

    @property
    def view(self) -> View:
        """`state`, for a stage that has one. Raises Bug if it is None."""
        if self.state is None:
            raise Bug(f"{self.at[0]}/{self.at[1]} has no state that contains its partition record")
        return self.state

    @property
    def record_is_stale(self) -> bool:
        """Whether the partition record must be written with the next delivery."""
        return self.must_write or self.next_offset != self.committed

    def must_be_written(self, batch: Batch) -> bool:
        """Whether the delivery of `batch` writes the partition record and the ledger line."""
        return self.record_is_stale or self.at in batch.records_of

    def ledger_line(self, batch: Batch) -> bytes:
        start = self.next_offset if self.committed is None else self.committed
        return ledger_line(start, self.next_offset, batch.counts[self.at], self.reset, self.record.versions)


class Process(ABC):
    """The part of the loop that differs between stages. One thread calls all methods, never while a transaction of
    Kafka is open. While a batch is in flight (see `Delivery`), it calls only `handle`, `work`, `combine`,
    `complete` and `busy`.

    Every stage implements `start` and `handle`. The other methods are optional.
    """

    @abstractmethod
    def start(self, owned: Owned) -> Iterator[None]:
        """Restore the state of a partition, and set `owned.next_offset`, and `owned.record` if the state contains one.

        Yields often, because the loop runs other work between two slices. Raises EnvironmentFault if the partition
        cannot start now; the loop tries again later.
        """

    @abstractmethod
    def handle(self, record: Record, batch: Batch) -> Handled:
        """Add the effects of one record to `batch` and count its outcome. The loop parks a record on DeadRecord."""

    def stop(self, at: Partition) -> None:
        """Called when partition `at` is revoked, or its start failed: drop everything about it from memory."""
        return

    def work(self, batch: Batch) -> None:
        """Do background work: add effects that belong to no new record (a slice of a sweep, entities to re-merge) to
        `batch`, until the work is done or `batch.full`."""
        return

    def busy(self, at: Partition) -> bool:
        """Whether background work (`work`) must be done before the next record of partition `at` is handled."""
        return False

    def combine(self, batch: Batch) -> None:
        """Called after each slice of the batch's records: add the effects that are created once for a slice. If the
        batch is full within a slice, only `complete` is called."""
        return

    def complete(self, batch: Batch) -> None:
        """Called before `batch` is delivered: add the effects that are created once for the whole batch."""
        return

    def committed(self, batch: Batch, offsets_after: dict[Partition, int]) -> None:
        """Called when `batch` is durable, before the delivery of the next batch starts.

        `offsets_after`: for each output partition whose offsets the delivery reports, the offset after our last
        record."""
        return

    def given_up(self) -> None:
        """Called when the open batch and the batch in flight are given up: delete their effects from memory. Their
        records are read again."""
        return
