"""A stage's metrics, fed by the loop."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Gauge

from sluice.stage.batch import Batch
from sluice.stage.group import GroupReader
from sluice.stage.process import Owned
from sluice.stage.record import At, Record
from sluice.telemetry import metrics

LAG_EVERY_S = 0.5


class StageMetrics:
    """Outcomes, dead letters, batch times and lag of one stage."""

    def __init__(self, stage: str, group: str) -> None:
        self._stage = stage
        self._group = group
        self._newest_ms: dict[At, int] = {}
        self._next_lag_at = 0.0

    def saw(self, record: Record) -> None:
        self._newest_ms[record.topic, record.partition] = record.timestamp_ms

    def delivered(self, batch: Batch) -> None:
        for (topic, _), counts in batch.counts.items():
            for outcome, number in counts.items():
                metrics.RECORDS.labels(self._stage, topic, outcome).inc(number)
        for cause, number in batch.dead.items():
            metrics.DEAD_LETTERS.labels(self._stage, cause).inc(number)
        metrics.BATCH_SECONDS.labels(self._stage).observe(time.monotonic() - batch.began)

    def paused(self, topic: str) -> None:
        metrics.PAUSED.labels(self._stage, topic, "dead-letters").set(1)

    def lag(self, owned: Iterable[Owned], reader: GroupReader) -> None:
        """Records and seconds not done yet, by partition; at most twice a second.

        Positions pass over control records at the end of a partition, so an idle stage's lag is 0.
        """
        now = time.monotonic()
        if now < self._next_lag_at:
            return
        self._next_lag_at = now + LAG_EVERY_S
        for one in owned:
            if not one.running:
                continue
            topic, partition = one.at
            records = max(0, reader.high_watermark(one.at) - one.position)
            newest_ms = self._newest_ms.get(one.at)
            seconds = max(0.0, time.time() - newest_ms / 1000) if records and newest_ms else 0.0
            metrics.LAG_RECORDS.labels(self._group, topic, partition).set(records)
            metrics.LAG_SECONDS.labels(self._group, topic, partition).set(seconds)

    def forget(self, at: At) -> None:
        """The partition is another process's: its lag is told there."""
        self._newest_ms.pop(at, None)
        for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS):
            _remove(gauge, self._group, at)


def _remove(gauge: Gauge, group: str, at: At) -> None:
    try:
        gauge.remove(group, at[0], str(at[1]))
    except KeyError:
        return
