"""What a stage supplies to the loop: how a partition is begun, and what one record leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from sluice.errors import Bug
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.stage.batch import Batch
from sluice.stage.partition import PartitionRecord
from sluice.state import View


class Taken(Enum):
    DONE = auto()
    """The record's effects are in the batch."""
    LATER = auto()
    """Not finished: the partition waits until `busy` is False, then the same record is offered again."""


@dataclass(slots=True)
class Owned:
    """A partition that this process owns, and three offsets in it.

    * `committed`: the group's committed offset; None if it has none.
    * `next_offset`: the next record to process. The open batch ends there.
    * `offered`: behind the last record that `handle` was given; higher than `next_offset` while a record waits.

    `state` is the view that keeps the partition record, None for a stage that keeps the record elsewhere. `fresh`: no
    batch was delivered since the partition was begun. `reset`: it was begun at another offset than it was left at.
    """

    at: Partition
    topic_id: str
    committed: int | None
    record: PartitionRecord
    state: View | None = None
    next_offset: int = 0
    offered: int = 0
    reset: bool = False
    fresh: bool = False

    @property
    def view(self) -> View:
        """`state`, for those who know that the stage keeps one: raises Bug where it does not."""
        if self.state is None:
            raise Bug(f"{self.at[0]}/{self.at[1]} has no state to keep its partition record in")
        return self.state


class Process(Protocol):
    """The stage's own part. Called by one thread, never while a transaction is open."""

    def start(self, owned: Owned) -> Iterator[None]:
        """Restore what `owned` needs, in slices: yield often. Sets `owned.record` where one is found.

        Raises EnvironmentFault when the partition cannot be begun; it is tried again later.
        """
        ...

    def stop(self, at: Partition) -> None:
        """The partition is another's now: forget what is in memory of it."""
        ...

    def handle(self, record: Record, batch: Batch) -> Taken:
        """Add the effects of one record to `batch` and count its outcome. DeadRecord: the loop parks it."""
        ...

    def work(self, batch: Batch) -> None:
        """Add effects that no record waits for (slices of a sweep, entities to merge anew), until `batch.full`."""
        ...

    def busy(self, at: Partition) -> bool:
        """Whether `work` must come before further records of `at`."""
        ...

    def complete(self, batch: Batch) -> None:
        """The batch is about to be delivered: add what is made once a batch."""
        ...

    def committed(self, batch: Batch, tracked: dict[Partition, int]) -> None:
        """The batch is durable. `tracked`: for each written topic partition whose offsets the delivery learnt, the
        offset behind the last record of ours."""
        ...

    def dropped(self) -> None:
        """The batch was given up: nothing of it ever was."""
        ...
