"""The records of the heartbeat topic: when the next one is due."""

from __future__ import annotations

from collections.abc import Iterator

from sluice.cdc.other_topics import OtherRecords
from sluice.raw.writing import RawRecord
from sluice.times import now_ms
from sluice_ingress_cdc.records import CONTENT_TYPE
from sluice_ingress_cdc.settings import SlotSettings


class Heartbeats:
    """Writes one record in each interval, in the transaction of the next batch: a reader of the topic knows that
    everything before it is published. There are none if the source has no heartbeat topic."""

    def __init__(self, slot: SlotSettings, records: OtherRecords) -> None:
        self._topic = slot.other.heartbeats
        self._interval_s = slot.other.heartbeat_s
        self._records = records
        self._due_at = 0.0

    def is_due(self, now: float) -> bool:
        return self._topic is not None and now >= self._due_at

    def take(self, now: float) -> Iterator[RawRecord]:
        """The record that is due at `now` (monotonic seconds)."""
        if self._topic is not None and self.is_due(now):
            self._due_at = now + self._interval_s
            yield RawRecord(self._topic, *self._records.heartbeat(now_ms()), [CONTENT_TYPE])
