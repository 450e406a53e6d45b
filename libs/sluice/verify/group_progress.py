"""Waits until a group has processed its input, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.log import Partition
from sluice.lag import backlogs, committed_offsets
from sluice.verify.report import NotDone

CHECK_EVERY_S = 0.25
# A partition with up to this many unread offsets is read: all of them may be transaction markers. A partition with more
# unread offsets has unread records.
COUNTED_OFFSETS_MAX = 1_000


def wait_for_group(
    kafka: KafkaSettings, reader: LogReader, group: str, ends: Mapping[Partition, int], give_up_at: float
) -> tuple[dict[Partition, int], list[NotDone]]:
    """Wait until `group` has processed every visible record below `ends`, or until `give_up_at` (monotonic seconds).

    Returns by partition the offset up to which it may be judged (its end, or the group's committed offset), and the
    records that the group has not processed. Blocks.
    """
    begins = reader.beginnings(list(ends))
    while True:
        committed = committed_offsets(kafka, group, ends)
        reached = {at: max(committed.get(at, 0), begins[at]) for at in ends}
        left = {at: (reached[at], end) for at, end in ends.items() if reached[at] < end}
        counted = backlogs(
            reader, {at: (start, end) for at, (start, end) in left.items() if end - start <= COUNTED_OFFSETS_MAX}
        )
        left = {at: span for at, span in left.items() if at not in counted or counted[at].records}
        if not left or time.monotonic() >= give_up_at:
            done = {at: reached[at] if at in left else end for at, end in ends.items()}
            return done, [NotDone(group, *at, *span) for at, span in left.items()]
        time.sleep(CHECK_EVERY_S)
