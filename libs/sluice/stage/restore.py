"""Beginning a partition: restore the view that keeps its record, then decide where to read from."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sluice.errors import EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.stage.control import request_in_force
from sluice.stage.partition import Found, PartitionRecord, decide_start, partition_key
from sluice.stage.process import Owned
from sluice.state import View


def restore_record(owned: Owned, view: View, reader: LogReader, control_topic: str, group: str) -> Iterator[None]:
    """Restore `view`, read the partition record from it, set where `owned` begins. Raises EnvironmentFault.

    The committed offset was asked for before: that waits out a transaction of the partition's last owner, so that
    what is read here is all there is.
    """
    yield from view.restore(reader)
    raw = view.get(partition_key(owned.at[1]))
    record = PartitionRecord.from_json(raw) if raw else None
    owned.state = view
    begin_partition(owned, record, reader, control_topic, group)


def begin_partition(
    owned: Owned, record: PartitionRecord | None, reader: LogReader, control_topic: str, group: str
) -> None:
    """Set where `owned` begins, from its partition record, wherever that is kept. Raises EnvironmentFault."""
    begin, end = reader.beginnings([owned.at])[owned.at], reader.ends([owned.at])[owned.at]
    accepted = accepted_skip(reader, control_topic, group, owned.at) if _skipped(owned, record) else None
    if record is not None and (owned.committed is None or owned.committed > end):
        _refuse_re_created(owned, reader, group)
    found = Found(owned.at, group, owned.committed, owned.topic_id, begin, end, accepted)
    start = decide_start(found, record, time.time())
    if record is not None:
        owned.record = record
    owned.position = start.offset
    owned.reset = start.reset


def _refuse_re_created(owned: Owned, reader: LogReader, group: str) -> None:
    """Kafka forgets the offsets of a deleted topic; this process has known the topic by its id since it started."""
    topic, partition = owned.at
    now = reader.topic_id(topic)
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
