"""The start of partitions: a queue in which one partition after the other starts, in slices of time.

The steps of a start, in this order: read the group's committed offset, restore the state (`Process.start`), decide at
which offset to read (`start_decision`). Kafka answers with the committed offset only after the last owner's transaction
has ended. The state that is restored after this answer is therefore complete.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import LogReader
from sluice.kafka.control import request_in_force
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.stage.faults import ResolvedBy, StageFaults
from sluice.stage.group import GroupReader
from sluice.stage.partition_record import LogStart, PartitionRecord, log_name, log_starts, partition_key, topic_of
from sluice.stage.process import Owned, Process
from sluice.stage.start_decision import StartFacts, decide_start
from sluice.state import View

SLICE_S = 0.2
RETRY_AFTER_S = 5.0


class PartitionStarts:
    """The assigned partitions that have not started. A partition that cannot start is tried again after RETRY_AFTER_S.

    `refused`: the committed offset of each partition that could not start; only of partitions that have one.
    """

    def __init__(self, reader: GroupReader, process: Process, faults: StageFaults) -> None:
        self._reader = reader
        self._process = process
        self._faults = faults
        self._queue: deque[tuple[Owned, Iterator[None]]] = deque()
        self._retry_at: dict[Partition, float] = {}
        self.refused: dict[Partition, int] = {}

    @property
    def pending(self) -> bool:
        """Whether `slice` has something to do now."""
        return bool(self._queue)

    @property
    def partitions(self) -> set[Partition]:
        """All partitions that have not started."""
        return {owned.at for owned, _ in self._queue} | self._retry_at.keys()

    def add(self, at: Partition) -> None:
        topic_id = self._reader.topic_ids[at[0]]
        owned = Owned(at, topic_id, None, PartitionRecord(topic_id, 0))
        self._queue.append((owned, self._steps(owned)))

    def drop(self, at: Partition) -> None:
        """Called when `at` is revoked."""
        self._retry_at.pop(at, None)
        self.refused.pop(at, None)
        self._queue = deque(item for item in self._queue if item[0].at != at)

    def retry_due(self) -> None:
        """Queue each partition again that could not start and whose wait has ended."""
        now = time.monotonic()
        for at in [at for at, due in self._retry_at.items() if due <= now]:
            del self._retry_at[at]
            self.add(at)

    def slice(self, deadline: float) -> Owned | None:
        """Work on the first partition of the queue until about `deadline` (monotonic). Returns the partition when it
        has started, else None. Call it only while `pending`.

        If the start fails, a fault is active until this partition starts. Other partitions start nevertheless.
        """
        owned, steps = self._queue[0]
        try:
            while time.monotonic() < deadline:
                next(steps)
        except StopIteration:
            self._queue.popleft()
            self.refused.pop(owned.at, None)
            self._faults.started(owned.at)
            return owned
        except (EnvironmentFault, Transient) as error:
            self._queue.popleft()
            self._retry_later(owned, error)
        return None

    def _retry_later(self, owned: Owned, error: Exception) -> None:
        at, now = owned.at, time.monotonic()
        self._process.stop(at)
        if owned.committed is not None:
            self.refused[at] = owned.committed
        self._faults.failed(f"{at[0]}/{at[1]}", str(error), ResolvedBy(started={at}), now)
        self._retry_at[at] = now + RETRY_AFTER_S

    def _steps(self, owned: Owned) -> Iterator[None]:
        owned.committed = self._reader.committed(owned.at)
        yield from self._process.start(owned)
        if owned.committed is None:
            # Commit a new group's first offset now. If the first batch fails, it is read again from this offset. A
            # later start can then distinguish this group from a group whose offsets expired.
            self._reader.commit({owned.at: owned.next_offset})
        # The start may be below the committed offset. After an error, the records from the start on are read again.
        owned.committed = owned.next_offset
        owned.must_write = True


class StageIdentity(NamedTuple):
    """A stage as a reader of Kafka: its name, its consumer group, and the topic with operators' requests to it."""

    stage: str
    group: str
    control_topic: str


def restore_record(
    owned: Owned, view: View, reader: LogReader, stage: StageIdentity, depends_on: Mapping[str, Pinned] | None = None
) -> Iterator[None]:
    """Restore `view`, read the partition record from it, and set the start offset of `owned`.

    `depends_on`: the logs that the state needs in addition to the view's own log; keys are `topic/partition`, or a
    topic. Raises EnvironmentFault if records could be lost.
    """
    yield from view.restore(reader)
    raw = view.get(partition_key(owned.at[1]))
    record = PartitionRecord.from_json(raw) if raw else None
    owned.state = view
    own_log = log_name((view.topic, view.partition))
    pinned = {topic_of(log): about for log, about in (depends_on or {}).items()}
    logs = log_starts(reader, [own_log, *(depends_on or {})], {**pinned, view.topic: Pinned(view.topic_id, 1)})
    set_start(owned, record, reader, stage, logs)


def set_start(
    owned: Owned,
    record: PartitionRecord | None,
    reader: LogReader,
    stage: StageIdentity,
    logs: Mapping[str, LogStart] | None = None,
) -> None:
    """Set the start offset of `owned` from its partition record, None if there is none.

    `logs`: the current start of each log that the state depends on, the state's own log first. Raises EnvironmentFault
    if records could be lost.
    """
    _refuse_re_created(owned, reader, stage.group)
    begin, end = reader.beginnings([owned.at])[owned.at], reader.ends([owned.at])[owned.at]
    may_be_accepted = _is_skip(owned, record) or (owned.committed == begin and begin > 0)
    accepted = accepted_skip(reader, stage.control_topic, stage.group, owned.at) if may_be_accepted else None
    facts = StartFacts(
        owned.at,
        stage.group,
        owned.committed,
        owned.topic_id,
        begin,
        end,
        accepted,
        stage.stage,
        next(iter(logs or ()), ""),
        logs or {},
    )
    start = decide_start(facts, record, time.time())
    if record is not None:
        owned.record = record
    owned.record.topic_id = owned.topic_id
    owned.record.logs = dict(logs or {})
    owned.record.pass_end = start.pass_end
    owned.next_offset = start.offset
    owned.reset = start.reset


def _refuse_re_created(owned: Owned, reader: LogReader, group: str) -> None:
    """Raises EnvironmentFault if the topic was re-created since this process started.

    Kafka deletes a group's offsets together with a topic, but a process may commit offsets of the old topic after that.
    Such offsets mean nothing in the new topic.
    """
    topic, partition = owned.at
    now = reader.pinned([topic])[topic].topic_id
    if now != owned.topic_id:
        raise EnvironmentFault(
            f"{topic}/{partition}, group {group}",
            f"the topic was re-created while this process ran (its id was {owned.topic_id}, is {now}); "
            "offsets of the old topic are void",
            "restart the stage, which then says how to continue with the new topic",
        )


def _is_skip(owned: Owned, record: PartitionRecord | None) -> bool:
    return record is not None and owned.committed is not None and owned.committed > record.processed


def skip_key(group: str, at: Partition) -> str:
    """The key in `sluice.control` of an accepted skip; its value is `{"to": offset}`."""
    return f"skip/{group}/{at[0]}/{at[1]}"


def accepted_skip(reader: LogReader, control_topic: str, group: str, at: Partition) -> int | None:
    """The offset up to which an operator accepted to skip `at`, or None."""
    request = request_in_force(reader, control_topic, skip_key(group, at))
    return int(request["to"]) if request else None
