"""The start of partitions: a queue that starts one after the other in slices, and the steps of a start.

The steps, in this order: ask for the committed offset, restore the state (`Process.start`), decide where to read
(`start_decision`). The answer about the committed offset waits for the end of the last owner's transaction, so that the
state which is restored afterwards is complete.
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
    """Partitions that were assigned and have not started. One that cannot start is tried again later.

    `refused`: the partitions that could not start so far, with the group's committed offset, if there is one.
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

    def slice(self) -> Owned | None:
        """Work for `SLICE_S` on the next partition. Returns it when it has started.

        A fault is active until this partition starts, and does not stop the others.
        """
        now = time.monotonic()
        for at in [at for at, due in self._retry_at.items() if due <= now]:
            del self._retry_at[at]
            self.add(at)
        if not self._queue:
            return None
        owned, steps = self._queue[0]
        try:
            while time.monotonic() < now + SLICE_S:
                next(steps)
        except StopIteration:
            self._queue.popleft()
            self.refused.pop(owned.at, None)
            self._faults.started(owned.at)
            return owned
        except (EnvironmentFault, Transient) as error:
            self._queue.popleft()
            self._retry_later(owned, error, now)
        return None

    def _retry_later(self, owned: Owned, error: Exception, now: float) -> None:
        at = owned.at
        self._process.stop(at)
        if owned.committed is not None:
            self.refused[at] = owned.committed
        self._faults.failed(f"{at[0]}/{at[1]}", str(error), ResolvedBy(started={at}), now)
        self._retry_at[at] = now + RETRY_AFTER_S

    def _steps(self, owned: Owned) -> Iterator[None]:
        owned.committed = self._reader.committed(owned.at)
        yield from self._process.start(owned)
        if owned.committed is None:
            # Commit a new group's first offset now: a first batch that fails is read again from it, and a later start
            # can distinguish this group from one whose offsets expired.
            self._reader.commit({owned.at: owned.next_offset})
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
    """Restore `view`, and set where `owned` starts from the partition record in it. Raises EnvironmentFault.

    `depends_on`: logs that the state needs in addition to the view's own (`topic/partition`, or a topic).
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
    """Set where `owned` starts, from its partition record. Raises EnvironmentFault.

    `logs`: the current start of each log that the state depends on, the state's own log first.
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
    """Raises EnvironmentFault if the topic is not the one that was pinned when this process started.

    Kafka forgets the offsets of a deleted topic, but not those that an owner commits a moment later. They say nothing
    about the new topic.
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
