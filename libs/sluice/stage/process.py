"""What a stage supplies to the loop: how a partition starts, and the effects of one record."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from sluice.errors import Bug
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.stage.batch import Batch
from sluice.stage.partition_record import PartitionRecord
from sluice.state import View


class Handled(Enum):
    DONE = auto()
    """The effects of the record are in the batch."""
    AGAIN = auto()
    """Not finished: the partition is paused until `busy` is False, then `handle` gets the same record again."""


@dataclass(slots=True)
class Owned:
    """A partition that this process owns, and three offsets in it. They say what was read, never which of two states
    is newer: only a position says that.

    * `committed`: the group's committed offset; None if it has none.
    * `next_offset`: the next record to process. The open batch ends there.
    * `offered`: the offset after the last record that `handle` got; above `next_offset` while a record is not finished.

    `state`: the view that contains the partition record, None for a stage that keeps the record elsewhere. `reset`: it
    started at another offset than the one that it was left at. `must_write`: write the partition record with the next
    delivery, even if no offset moved.
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


class Process(ABC):
    """A stage's own part. One thread calls it, never while a transaction is open.

    A stage implements `start` and `handle`, and of the other methods only those that it needs.
    """

    @abstractmethod
    def start(self, owned: Owned) -> Iterator[None]:
        """Restore the state of a partition, in slices: yield often. Sets `owned.record` if one is found.

        Raises EnvironmentFault if the partition cannot start now; the loop tries again later.
        """

    @abstractmethod
    def handle(self, record: Record, batch: Batch) -> Handled:
        """Add the effects of one record to `batch` and count its outcome. The loop parks a record on DeadRecord."""

    def stop(self, at: Partition) -> None:
        """Called when the partition is revoked: drop everything about it from memory."""
        return

    def work(self, batch: Batch) -> None:
        """Add effects that belong to no new record (a slice of a sweep, entities to re-merge) until `batch.full`."""
        return

    def busy(self, at: Partition) -> bool:
        """Whether `work` must come before further records of `at`."""
        return False

    def complete(self, batch: Batch) -> None:
        """Called before `batch` is delivered: add what is created once a batch."""
        return

    def committed(self, batch: Batch, tracked: dict[Partition, int]) -> None:
        """Called when `batch` is durable. `tracked`: for each output partition whose offsets the delivery reports, the
        offset after our last record."""
        return

    def dropped(self) -> None:
        """Called when the batch is given up: none of its effects exist."""
        return
