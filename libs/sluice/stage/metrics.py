"""A stage's metrics, fed by the loop."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog
from prometheus_client import Gauge

from sluice.errors import told
from sluice.kafka.log import Partition
from sluice.stage.assignment import Assignment
from sluice.stage.batch import Batch
from sluice.stage.group import GroupReader
from sluice.telemetry import metrics

LAG_EVERY_S = 0.5
ENDS_EVERY_S = 2.0
# Behind a broker that has just come back each answer takes a second, and a sink had 18 partitions to ask for: it took
# records once in 4 s, and in the end once in 70 s.
ENDS_ASKED_FOR_S = 0.5
TOLD_EVERY_S = 30.0

log = structlog.get_logger()


class StageMetrics:
    """Outcomes, dead letters, batch times and lag of one stage."""

    def __init__(self, stage: str, group: str) -> None:
        self._stage = stage
        self._group = group
        self._newest_ms: dict[Partition, int] = {}
        self._nothing_left_at: dict[Partition, float] = {}
        self._ends: dict[Partition, int] = {}
        self._asked_at: dict[Partition, float] = {}
        self._next_lag_at = self._next_ends_at = self._next_told_at = 0.0

    def delivered(self, batch: Batch) -> None:
        self._newest_ms |= batch.newest_ms
        for (topic, _), counts in batch.counts.items():
            for outcome, number in counts.items():
                metrics.RECORDS.labels(self._stage, topic, outcome).inc(number)
        for cause, number in batch.dead.items():
            metrics.DEAD_LETTERS.labels(self._stage, cause).inc(number)
        metrics.BATCH_SECONDS.labels(self._stage).observe(time.monotonic() - batch.began)

    def paused(self, topic: str) -> None:
        metrics.PAUSED.labels(self._stage, topic, "dead-letters").set(1)

    def lag(self, assignment: Assignment, reader: GroupReader) -> None:
        """Records and seconds not done yet, by partition; at most twice a second.

        Positions pass over control records at the end of a partition, so an idle stage's lag is 0. The end that the
        last fetch told grows old where nothing is fetched: of what is not read, and of what is far behind, because the
        queue in front of it is full. There it is asked for.

        Raises nothing: what only measures never stops a stage. What cannot be measured keeps the value that it has,
        and the log says so.
        """
        if time.monotonic() < self._next_lag_at:
            return
        try:
            self._measure(assignment, reader)
        except Exception as error:
            self._unmeasured(error)
        self._next_lag_at = time.monotonic() + LAG_EVERY_S

    def _measure(self, assignment: Assignment, reader: GroupReader) -> None:
        unread = assignment.unread()
        done = {at: one.next_offset for at, one in assignment.owned.items()} | unread
        self._ask_ends([at for at, offset in done.items() if at in unread or _is_behind(reader, at, offset)], reader)
        for at, offset in done.items():
            end = max(reader.high_watermark(at), self._ends.get(at, -1))
            if end >= 0:  # else nothing was fetched yet, so nothing is known
                self._tell(at, max(0, end - offset))

    def _ask_ends(self, partitions: Iterable[Partition], reader: GroupReader) -> None:
        """Ask for some of the ends, the longest unasked first; what was known of the others stays."""
        began = time.monotonic()
        if began < self._next_ends_at:
            return
        wanted = sorted(partitions, key=lambda at: self._asked_at.get(at, 0.0))
        self._ends = {at: self._ends[at] for at in wanted if at in self._ends}
        for at in wanted:
            try:
                self._asked_at[at] = time.monotonic()
                self._ends[at] = reader.end(at)
            except Exception as error:  # whatever its code: the next time will do, since nothing waits for it
                self._unmeasured(error)
                break
            if time.monotonic() - began > ENDS_ASKED_FOR_S:
                break
        self._next_ends_at = time.monotonic() + ENDS_EVERY_S

    def _unmeasured(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._next_told_at:
            self._next_told_at = now + TOLD_EVERY_S
            log.warning("lag not measured; its metric stands still", group=self._group, why=told(error))

    def _tell(self, at: Partition, records: int) -> None:
        topic, partition = at
        now_s = time.time()
        if not records:
            self._nothing_left_at[at] = now_s
        age_s = oldest_age_s(records, now_s, self._newest_ms.get(at), self._nothing_left_at.get(at))
        metrics.LAG_RECORDS.labels(self._group, topic, partition).set(records)
        if age_s is not None:
            metrics.LAG_SECONDS.labels(self._group, topic, partition).set(age_s)

    def forget(self, at: Partition) -> None:
        """The partition is another process's: its lag is told there."""
        self._newest_ms.pop(at, None)
        self._nothing_left_at.pop(at, None)
        self._asked_at.pop(at, None)
        for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS):
            _remove(gauge, self._group, at)


def _is_behind(reader: GroupReader, at: Partition, next_offset: int) -> bool:
    """As far as fetches tell; where none has come yet, nobody knows."""
    end = reader.high_watermark(at)
    return end < 0 or end > next_offset


def oldest_age_s(
    records: int, now_s: float, newest_done_ms: int | None, nothing_left_at_s: float | None
) -> float | None:
    """How old the oldest of `records` not done can be, in seconds; None when nothing tells.

    It was written behind the newest record that is done, and after the partition was last seen with nothing left:
    the later of the two counts. Without the second, the first record after a quiet night would look a night old.
    """
    if not records:
        return 0.0
    bounds = [newest_done_ms / 1000] if newest_done_ms is not None else []
    bounds += [nothing_left_at_s] if nothing_left_at_s is not None else []
    return max(0.0, now_s - max(bounds)) if bounds else None


def _remove(gauge: Gauge, group: str, at: Partition) -> None:
    try:
        gauge.remove(group, at[0], str(at[1]))
    except KeyError:
        return
