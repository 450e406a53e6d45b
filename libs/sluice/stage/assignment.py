"""The partitions that this process owns, and which of them are read: not those that wait for work that comes before
their records, nor those of an input topic that is paused or rests after a fault of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from sluice.kafka.log import Partition
from sluice.stage.faults import AssignmentState, ResolvedBy, StageFaults
from sluice.stage.group import GroupReader
from sluice.stage.process import Owned, Process
from sluice.stage.start import PartitionStarts

log = structlog.get_logger()


class Assignment:
    """`owned`: what is begun, and so takes part in every transaction. `gone` is told of each partition that is not ours
    any more."""

    def __init__(
        self,
        reader: GroupReader,
        process: Process,
        faults: StageFaults,
        gone: Callable[[Partition], None],
    ) -> None:
        self.owned: dict[Partition, Owned] = {}
        self._reader = reader
        self._process = process
        self._gone = gone
        self._beginnings = PartitionStarts(reader, process, faults)
        self._waiting: dict[Partition, int] = {}
        self._paused: dict[str, float] = {}
        self._resting: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        """Whether there is work that waits for no record."""
        return self._beginnings.pending or any(self._process.busy(at) for at in self._waiting)

    def reading(self) -> dict[Partition, Owned]:
        """The partitions that are read now."""
        return {at: owned for at, owned in self.owned.items() if not self.held(at)}

    def unread(self) -> dict[Partition, int]:
        """The partitions that are ours and not read now: up to where each is done, as far as that is known."""
        return self._beginnings.put_off | {at: one.next_offset for at, one in self.owned.items() if self.held(at)}

    def places(self) -> AssignmentState:
        committed = {at: -1 if one.committed is None else one.committed for at, one in self.owned.items()}
        return AssignmentState(
            frozenset(self._beginnings.places | committed.keys()), committed, frozenset(self._waiting)
        )

    def under_way(self) -> ResolvedBy:
        """What was offered and is not committed, and what waits for the process's own work."""
        offered = {at: one.offered for at, one in self.owned.items() if one.offered > (one.committed or 0)}
        return ResolvedBy(offered, frozenset(self._waiting))

    def held(self, at: Partition) -> bool:
        return at in self._waiting or at[0] in self._paused or at[0] in self._resting

    # ── coming and going ──────────────────────────────────────────────────────────────────────────────────────

    def follow(self) -> None:
        """Do what the last rebalance noted."""
        revoked, self._reader.revoked = self._reader.revoked, []
        assigned, self._reader.assigned = self._reader.assigned, []
        for at in revoked:
            self._forget(at)
        for at in assigned:
            self._beginnings.add(at)

    def leave(self) -> None:
        """Forget all: nothing of it is ours any more."""
        for at in [*self.owned, *self._beginnings.places]:
            self._forget(at)

    def begin(self) -> None:
        """A slice of work on the partition that is being begun; once it is, it is read from where it begins."""
        owned = self._beginnings.slice()
        if owned is None:
            return
        self.owned[owned.at] = owned
        owned.record.paused_at = self._paused.get(owned.at[0], 0.0)
        if self._process.busy(owned.at):
            self._waiting[owned.at] = owned.next_offset
        else:
            self._read_on(owned.at, owned.next_offset)
        log.info("partition begun", topic=owned.at[0], partition=owned.at[1], offset=owned.next_offset)

    def _forget(self, at: Partition) -> None:
        self._beginnings.drop(at)
        self.owned.pop(at, None)
        self._waiting.pop(at, None)
        self._process.stop(at)
        self._gone(at)

    # ── holding and reading on ────────────────────────────────────────────────────────────────────────────────

    def wait(self, at: Partition, offset: int) -> None:
        """Read nothing of `at` while the process is busy with it, then from `offset` on."""
        self._waiting[at] = offset
        self._reader.hold(at)

    def read_on(self) -> None:
        """Read on where the process is busy no more."""
        for at in [at for at in self._waiting if not self._process.busy(at)]:
            self._read_on(at, self._waiting.pop(at))

    def pause(self, topic: str) -> bool:
        """Read nothing of `topic` as long as this process lives; False if that is so already.

        The partition records say so from the next delivery on, for whoever looks from outside.
        """
        if topic in self._paused:
            return False
        self._paused[topic] = time.time()
        for at, owned in self.owned.items():
            if at[0] == topic:
                self._reader.hold(at)
                owned.record.paused_at, owned.fresh = self._paused[topic], True
        return True

    def rest(self, topic: str, for_s: float) -> None:
        """Read nothing of `topic` for a while: what is wrong is wrong with it alone, and the others go on."""
        self._resting[topic] = time.monotonic() + for_s
        for at in self.owned:
            if at[0] == topic:
                self._reader.hold(at)

    def wake(self) -> None:
        """Read on what has rested."""
        now = time.monotonic()
        for topic in [topic for topic, due in self._resting.items() if due <= now]:
            del self._resting[topic]
            for at, owned in self.owned.items():
                if at[0] == topic and at not in self._waiting:
                    self._read_on(at, owned.next_offset)

    def rewind(self) -> None:
        """Offer again what is not committed: from the offset that is committed for each partition."""
        for owned in self.owned.values():
            owned.next_offset = owned.committed if owned.committed is not None else owned.next_offset
            if owned.at in self._waiting:
                self._waiting[owned.at] = owned.next_offset
            else:
                self._read_on(owned.at, owned.next_offset)

    def look_again(self) -> None:
        """Deliver soon, whether anything comes or not."""
        for owned in self.owned.values():
            owned.fresh = True

    def _read_on(self, at: Partition, offset: int) -> None:
        if at[0] not in self._paused and at[0] not in self._resting:
            self._reader.begin_at(at, offset)
