"""Beginning a partition: restore the view that keeps its record, then decide where to read from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sluice.errors import EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.control import request_in_force
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned
from sluice.stage.partition import Found, LogStart, PartitionRecord, decide_start, partition_key
from sluice.stage.pinning import log_name, logs_now, topic_of
from sluice.stage.process import Owned
from sluice.state import View


class Reading(NamedTuple):
    """As what a stage reads: its name, its consumer group, and the topic of operators' requests."""

    stage: str
    group: str
    control_topic: str


def restore_record(
    owned: Owned, view: View, reader: LogReader, as_: Reading, stands_on: Mapping[str, Pinned] | None = None
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
    begin_partition(owned, record, reader, as_, logs)


def begin_partition(
    owned: Owned,
    record: PartitionRecord | None,
    reader: LogReader,
    as_: Reading,
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
    found = Found(
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
