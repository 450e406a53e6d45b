"""Beginning partitions: in slices, in the order they were assigned, and again later where that cannot be done now.

The committed offset is asked for first: that waits out the transaction of the partition's last owner, so that what the
process then restores is all there is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka.log import Partition
from sluice.stage.group import GroupReader
from sluice.stage.owed import Debt, OwedFaults
from sluice.stage.partition import PartitionRecord
from sluice.stage.process import Owned, Process

SLICE_S = 0.2
AGAIN_AFTER_S = 5.0


class Beginnings:
    """Partitions that were assigned and cannot be read yet. `topic_ids`: the pinned id of each input topic.

    `put_off`: the group's committed offset of those that could not be begun so far, where it has one.
    """

    def __init__(self, reader: GroupReader, process: Process, faults: OwedFaults, topic_ids: Mapping[str, str]) -> None:
        self._reader = reader
        self._process = process
        self._faults = faults
        self._topic_ids = topic_ids
        self._queue: deque[tuple[Owned, Iterator[None]]] = deque()
        self._again: dict[Partition, float] = {}
        self.put_off: dict[Partition, int] = {}

    @property
    def pending(self) -> bool:
        """Whether `slice` has something to do now."""
        return bool(self._queue)

    @property
    def places(self) -> set[Partition]:
        """What is being begun, or will be tried again."""
        return {owned.at for owned, _ in self._queue} | self._again.keys()

    def add(self, at: Partition) -> None:
        topic_id = self._topic_ids[at[0]]
        owned = Owned(at, topic_id, None, PartitionRecord(topic_id, 0))
        self._queue.append((owned, self._steps(owned)))

    def drop(self, at: Partition) -> None:
        """It is another's now."""
        self._again.pop(at, None)
        self.put_off.pop(at, None)
        self._queue = deque(item for item in self._queue if item[0].at != at)

    def slice(self) -> Owned | None:
        """Work for `SLICE_S` on the partition whose turn it is. Returns it once it is begun.

        A fault there stands until this partition is begun, and holds no other up.
        """
        now = time.monotonic()
        for at in [at for at, due in self._again.items() if due <= now]:
            del self._again[at]
            self.add(at)
        if not self._queue:
            return None
        owned, steps = self._queue[0]
        try:
            while time.monotonic() < now + SLICE_S:
                next(steps)
        except StopIteration:
            self._queue.popleft()
            self.put_off.pop(owned.at, None)
            self._faults.began(owned.at)
            return owned
        except (EnvironmentFault, Transient) as error:
            self._queue.popleft()
            self._begin_later(owned, error, now)
        return None

    def _begin_later(self, owned: Owned, error: Exception, now: float) -> None:
        at = owned.at
        self._process.stop(at)
        if owned.committed is not None:
            self.put_off[at] = owned.committed
        self._faults.failed(f"{at[0]}/{at[1]}", str(error), Debt(begun=frozenset([at])), now)
        self._again[at] = now + AGAIN_AFTER_S

    def _steps(self, owned: Owned) -> Iterator[None]:
        owned.committed = self._reader.committed(owned.at)
        yield from self._process.start(owned)
        if owned.committed is None:
            # A group is born with a committed start: what a given-up first batch is offered again from, and what
            # tells a later start that this is no group whose offsets expired.
            self._reader.commit({owned.at: owned.next_offset})
            owned.committed = owned.next_offset
        owned.fresh = True
