"""How far a group has come up to the ends that were taken, waiting for it within a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sluice.kafka import KafkaSettings, LogReader
from sluice.kafka.log import Partition
from sluice.lag import backlogs, committed_offsets
from sluice.verify.report import NotDone

LOOK_EVERY_S = 0.25
# Fewer offsets than these may be markers only: worth reading.
COUNTED_OFFSETS_MAX = 1_000


def wait_for_group(
    kafka: KafkaSettings, reader: LogReader, group: str, ends: Mapping[Partition, int], give_up_at: float
) -> tuple[dict[Partition, int], list[NotDone]]:
    """Wait until `group` has done every visible record below `ends`, or `give_up_at` (monotonic seconds) is past.

    Returns how far each partition may be judged (its end, or where the group stands), and what was not done.
    """
    begins = reader.beginnings(list(ends))
    while True:
        committed = committed_offsets(kafka, group, ends)
        stands = {at: committed.get(at, begins[at]) for at in ends}
        left = {at: (max(stands[at], begins[at]), end) for at, end in ends.items() if stands[at] < end}
        small = {at: span for at, span in left.items() if span[1] - span[0] <= COUNTED_OFFSETS_MAX}
        counted = backlogs(reader, small)
        left = {at: span for at, span in left.items() if at not in counted or counted[at].records}
        if not left or time.monotonic() >= give_up_at:
            done = {at: stands[at] if at in left else end for at, end in ends.items()}
            return done, [NotDone(group, *at, *span) for at, span in left.items()]
        time.sleep(LOOK_EVERY_S)
