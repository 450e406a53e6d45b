"""Beginning partitions: in slices, in the order they were assigned, and again later where that cannot be done now.

The committed offset is asked for first: that waits out the transaction of the partition's last owner, so that what the
process then restores is all there is.
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
from sluice.stage.partition_record import LogStart, PartitionRecord, log_name, logs_now, partition_key, topic_of
from sluice.stage.process import Owned, Process
from sluice.stage.start_decision import StartFacts, decide_start
from sluice.state import View

SLICE_S = 0.2
AGAIN_AFTER_S = 5.0


class PartitionStarts:
    """Partitions that were assigned and cannot be read yet.

    `put_off`: the group's committed offset of those that could not be begun so far, where it has one.
    """

    def __init__(self, reader: GroupReader, process: Process, faults: StageFaults) -> None:
        self._reader = reader
        self._process = process
        self._faults = faults
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
        topic_id = self._reader.topic_ids[at[0]]
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
        self._faults.failed(f"{at[0]}/{at[1]}", str(error), ResolvedBy(begun=frozenset([at])), now)
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


class StageIdentity(NamedTuple):
    """As what a stage reads: its name, its consumer group, and the topic of operators' requests."""

    stage: str
    group: str
    control_topic: str


def restore_record(
    owned: Owned, view: View, reader: LogReader, as_: StageIdentity, stands_on: Mapping[str, Pinned] | None = None
) -> Iterator[None]:
    """Restore `view`, read the partition record from it, set where `owned` begins. Raises EnvironmentFault.

    `stands_on`: besides the view's own, the logs without which its state is not true (`topic/partition`, or a topic).

    The committed offset was asked for before: that waits out a transaction of the partition's last owner, so that
    what is read here is all there is.
    """
    yield from view.restore(reader)
    raw = view.get(partition_key(owned.at[1]))
    record = PartitionRecord.from_json(raw) if raw else None
    owned.state = view
    mine = log_name((view.topic, view.partition))
    pinned = {topic_of(log): about for log, about in (stands_on or {}).items()}
    logs = logs_now(reader, [mine, *(stands_on or {})], {**pinned, view.topic: Pinned(view.topic_id, 1)})
    set_start(owned, record, reader, as_, logs)


def set_start(
    owned: Owned,
    record: PartitionRecord | None,
    reader: LogReader,
    as_: StageIdentity,
    logs: Mapping[str, LogStart] | None = None,
) -> None:
    """Set where `owned` begins, from its partition record, wherever that is kept. Raises EnvironmentFault.

    `logs`: how those stand now that its state stands on, its own first.
    """
    _refuse_re_created(owned, reader, as_.group)
    begin, end = reader.beginnings([owned.at])[owned.at], reader.ends([owned.at])[owned.at]
    asked = _skipped(owned, record) or (owned.committed == begin and begin > 0)
    accepted = accepted_skip(reader, as_.control_topic, as_.group, owned.at) if asked else None
    state = next(iter(logs or ()), "")
    found = StartFacts(
        owned.at, as_.group, owned.committed, owned.topic_id, begin, end, accepted, as_.stage, state, logs or {}
    )
    start = decide_start(found, record, time.time())
    if record is not None:
        owned.record = record
    owned.record.topic_id = owned.topic_id
    owned.record.logs = dict(logs or {})
    owned.record.pass_end = start.pass_end
    owned.next_offset = start.offset
    owned.reset = start.reset


def _refuse_re_created(owned: Owned, reader: LogReader, group: str) -> None:
    """This process has known the topic by its id since it started. Kafka forgets the offsets of a deleted topic, but
    not those that an owner commits a moment later: what they say of the new one means nothing."""
    topic, partition = owned.at
    now = reader.pinned([topic])[topic].topic_id
    if now != owned.topic_id:
        raise EnvironmentFault(
            f"{topic}/{partition}, group {group}",
            f"the topic was re-created while this process ran (its id was {owned.topic_id}, is {now}); "
            "old offsets mean nothing",
            "restart the stage, which then says how to go on with the new topic",
        )


def _skipped(owned: Owned, record: PartitionRecord | None) -> bool:
    return record is not None and owned.committed is not None and owned.committed > record.processed


def skip_key(group: str, at: Partition) -> str:
    """The key in `sluice.control` under which a skip is accepted: `{"to": offset}`."""
    return f"skip/{group}/{at[0]}/{at[1]}"


def accepted_skip(reader: LogReader, control_topic: str, group: str, at: Partition) -> int | None:
    """The offset up to which an operator accepted to skip `at`, if one did."""
    request = request_in_force(reader, control_topic, skip_key(group, at))
    return int(request["to"]) if request else None
