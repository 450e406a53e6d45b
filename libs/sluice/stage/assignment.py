"""The partitions that this process owns, and which of them are read.

A partition is not read while it is *blocked* (background work of the process comes before the partition's next record),
while its input topic is *paused* (too many dead letters), or while a failed input topic waits for the next attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from sluice.kafka.log import Partition
from sluice.stage.faults import AssignmentState, ResolvedBy, StageFaults
from sluice.stage.group import GroupReader
from sluice.stage.process import Owned, Process
from sluice.stage.start import SLICE_S, PartitionStarts

log = structlog.get_logger()


class Assignment:
    """The partitions that Kafka has assigned to this process: partitions that start, are read, are paused or blocked.

    `owned`: the partitions whose start is finished; every transaction commits an offset for each of them. `on_revoked`
    is called for each partition that is revoked or lost.
    """

    def __init__(
        self, reader: GroupReader, process: Process, faults: StageFaults, on_revoked: Callable[[Partition], None]
    ) -> None:
        self.owned: dict[Partition, Owned] = {}
        self._reader = reader
        self._process = process
        self._on_revoked = on_revoked
        self._starts = PartitionStarts(reader, process, faults)
        self._blocked: dict[Partition, int] = {}
        self._paused: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}

    @property
    def busy(self) -> bool:
        """Whether a partition is starting or has background work, so that the loop must not wait for records."""
        return self._starts.pending or any(self._process.busy(at) for at in self._blocked)

    def reading(self) -> dict[Partition, Owned]:
        """The started partitions that are read now."""
        return {at: owned for at, owned in self.owned.items() if self.is_read(at)}

    def unread(self) -> dict[Partition, int]:
        """The next offset of each assigned partition that is not read now. A starting partition is included only if its
        start was refused before and its group has a committed offset."""
        return self._starts.refused | {at: one.next_offset for at, one in self.owned.items() if not self.is_read(at)}

    def is_read(self, at: Partition) -> bool:
        return at not in self._blocked and self._is_readable(at[0])

    def _is_readable(self, topic: str) -> bool:
        return topic not in self._paused and topic not in self._retry_at

    def state(self) -> AssignmentState:
        committed = {at: -1 if one.committed is None else one.committed for at, one in self.owned.items()}
        return AssignmentState(
            frozenset(self._starts.partitions | committed.keys()), committed, frozenset(self._blocked)
        )

    def under_way(self) -> ResolvedBy:
        """The work in progress when an error occurs, which resolves the error's fault: the commit of the offered
        records and the background work of blocked partitions. Without any such work, the next delivery resolves the
        fault."""
        offered = {at: one.offered for at, one in self.owned.items() if one.offered > (one.committed or 0)}
        return ResolvedBy(offered, set(self._blocked), next_delivery=not (offered or self._blocked))

    # ── assigned and revoked ──────────────────────────────────────────────────────────────────────────────────

    def apply_rebalance(self) -> None:
        """Forget the partitions that the group revoked, and queue the newly assigned partitions for their start."""
        revoked, self._reader.revoked = self._reader.revoked, []
        assigned, self._reader.assigned = self._reader.assigned, []
        for at in revoked:
            self._forget(at)
        for at in assigned:
            self._starts.add(at)

    def forget_all(self) -> None:
        for at in [*self.owned, *self._starts.partitions]:
            self._forget(at)

    def start_next(self) -> None:
        """Do one slice of work on the start queue. Each partition that has started is read, or blocked while it has
        background work."""
        deadline = time.monotonic() + SLICE_S
        while self._starts.pending and time.monotonic() < deadline:
            if (owned := self._starts.slice(deadline)) is not None:
                self._started(owned)

    def _started(self, owned: Owned) -> None:
        self.owned[owned.at] = owned
        owned.record.paused_at = self._paused.get(owned.at[0], 0.0)
        if self._process.busy(owned.at):
            self._blocked[owned.at] = owned.next_offset
        else:
            self._read_from(owned.at, owned.next_offset)
        log.info("partition started", topic=owned.at[0], partition=owned.at[1], offset=owned.next_offset)

    def _forget(self, at: Partition) -> None:
        self._starts.drop(at)
        self.owned.pop(at, None)
        self._blocked.pop(at, None)
        self._process.stop(at)
        self._on_revoked(at)

    # ── read and not read ─────────────────────────────────────────────────────────────────────────────────────

    def block(self, at: Partition, offset: int) -> None:
        """Do not read partition `at` while the process has background work for it; then continue at `offset`."""
        self._blocked[at] = offset
        self._reader.pause(at)

    def unblock(self) -> None:
        """Resume each blocked partition for which the process has no background work left."""
        for at in [at for at in self._blocked if not self._process.busy(at)]:
            self._read_from(at, self._blocked.pop(at))

    def pause(self, topic: str) -> bool:
        """Do not read `topic` until this process ends. Returns False if the topic is already paused.

        The next delivery writes the time of the pause into the partition records, from which `sluice lag` reports it.
        """
        if topic in self._paused:
            return False
        self._paused[topic] = time.time()
        for owned in self._owned_of(topic):
            self._reader.pause(owned.at)
            owned.record.paused_at, owned.must_write = self._paused[topic], True
        return True

    def pause_for(self, topic: str, for_s: float) -> None:
        """Do not read `topic` for `for_s` seconds: a fault of one topic must not stop the other topics."""
        self._retry_at[topic] = time.monotonic() + for_s
        for owned in self._owned_of(topic):
            self._reader.pause(owned.at)

    def resume_due(self) -> None:
        """Resume each topic whose wait (`pause_for`) has ended, and queue each partition whose start is due again."""
        self._starts.retry_due()
        now = time.monotonic()
        for topic in [topic for topic, due in self._retry_at.items() if due <= now]:
            del self._retry_at[topic]
            for owned in self._owned_of(topic):
                if owned.at not in self._blocked:
                    self._read_from(owned.at, owned.next_offset)

    def rewind(self) -> None:
        """Read each partition again from its committed offset.

        Partitions that were revoked in the turn that failed are forgotten first: the reader cannot seek in them.
        """
        self.apply_rebalance()
        for owned in self.owned.values():
            owned.next_offset = owned.committed if owned.committed is not None else owned.next_offset
            if owned.at in self._blocked:
                self._blocked[owned.at] = owned.next_offset
            else:
                self._read_from(owned.at, owned.next_offset)

    def write_records(self) -> None:
        """Write the partition record of every owned partition with the next delivery, even if no input record
        arrives."""
        for owned in self.owned.values():
            owned.must_write = True

    def _owned_of(self, topic: str) -> list[Owned]:
        return [owned for at, owned in self.owned.items() if at[0] == topic]

    def _read_from(self, at: Partition, offset: int) -> None:
        if self._is_readable(at[0]):
            self._reader.read_from(at, offset)
