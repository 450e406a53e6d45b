"""A stage's metrics, updated by the loop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

import structlog

from sluice.errors import log_text
from sluice.kafka.log import Partition
from sluice.stage.assignment import Assignment
from sluice.stage.batch import Batch
from sluice.stage.group import GroupReader
from sluice.telemetry import metrics

LAG_EVERY_S = 0.5
ENDS_EVERY_S = 2.0
# A broker that has just restarted needs one second for each answer. Without this limit, a sink with 18 partitions took
# records only once in 4 s, and later once in 70 s.
ENDS_REQUEST_MAX_S = 0.5
LOG_EVERY_S = 30.0

log = structlog.get_logger()


class StageMetrics:
    """Outcomes, dead letters, batch times and lag of one stage."""

    def __init__(self, stage: str, group: str) -> None:
        self._stage = stage
        self._group = group
        self._newest_ms: dict[Partition, int] = {}
        self._no_lag_at: dict[Partition, float] = {}
        self._ends: dict[Partition, int] = {}
        self._end_requested_at: dict[Partition, float] = {}
        self._next_lag_at = self._next_ends_at = self._next_log_at = 0.0

    def delivered(self, batch: Batch) -> None:
        self._newest_ms |= batch.newest_ms
        for (topic, _), counts in batch.counts.items():
            for outcome, number in counts.items():
                metrics.RECORDS.labels(self._stage, topic, outcome).inc(number)
        for cause, number in batch.dead_by_cause.items():
            metrics.DEAD_LETTERS.labels(self._stage, cause).inc(number)
        metrics.BATCH_SECONDS.labels(self._stage).observe(time.monotonic() - batch.created_at_s)

    def paused(self, topic: str) -> None:
        metrics.PAUSED.labels(self._stage, topic, "dead-letters").set(1)

    def lag(self, assignment: Assignment, reader: GroupReader) -> None:
        """Set the lag in records and seconds of each partition; at most twice a second.

        The next offset of an idle partition is after the control records at the partition's end, so the lag of an idle
        stage is 0. The end that the last fetch reported becomes old while no record is fetched. This happens to a
        partition that is not read, and to a partition far behind, because its fetch queue is full. For such
        partitions the leader is asked for the end.

        Raises nothing, because a measurement must not stop a stage. After an error the metric keeps its last value, and
        a warning is logged.
        """
        if time.monotonic() < self._next_lag_at:
            return
        try:
            self._measure(assignment, reader)
        except Exception as error:
            self._log_unmeasured(error)
        self._next_lag_at = time.monotonic() + LAG_EVERY_S

    def _measure(self, assignment: Assignment, reader: GroupReader) -> None:
        unread = assignment.unread()
        next_offsets = {at: one.next_offset for at, one in assignment.owned.items()} | unread
        self._request_ends(
            [at for at, offset in next_offsets.items() if at in unread or _is_behind(reader, at, offset)], reader
        )
        for at, offset in next_offsets.items():
            end = max(reader.high_watermark(at), self._ends.get(at, -1))
            if end >= 0:  # otherwise nothing was fetched yet, and the lag is unknown
                self._set_lag(at, max(0, end - offset))

    def _request_ends(self, partitions: Iterable[Partition], reader: GroupReader) -> None:
        """Ask the leaders for the ends of `partitions`, in the order of their last request, the oldest first. Stops
        after ENDS_REQUEST_MAX_S; partitions that were not asked keep their last known end."""
        started_at = time.monotonic()
        if started_at < self._next_ends_at:
            return
        wanted = sorted(partitions, key=lambda at: self._end_requested_at.get(at, 0.0))
        self._ends = {at: self._ends[at] for at in wanted if at in self._ends}
        for at in wanted:
            try:
                self._end_requested_at[at] = time.monotonic()
                self._ends[at] = reader.end(at)
            except Exception as error:  # of any code: nothing waits for the answer, so the next interval is enough
                self._log_unmeasured(error)
                break
            if time.monotonic() - started_at > ENDS_REQUEST_MAX_S:
                break
        self._next_ends_at = time.monotonic() + ENDS_EVERY_S

    def _log_unmeasured(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._next_log_at:
            self._next_log_at = now + LOG_EVERY_S
            log.warning("lag not measured; the metric keeps its last value", group=self._group, why=log_text(error))

    def _set_lag(self, at: Partition, records: int) -> None:
        topic, partition = at
        now_s = time.time()
        if not records:
            self._no_lag_at[at] = now_s
        age_s = oldest_age_s(records, now_s, self._newest_ms.get(at), self._no_lag_at.get(at))
        metrics.LAG_RECORDS.labels(self._group, topic, partition).set(records)
        if age_s is not None:
            metrics.LAG_SECONDS.labels(self._group, topic, partition).set(age_s)

    def forget(self, at: Partition) -> None:
        """Called when partition `at` is revoked: its metrics are removed. The next owner of the partition reports its
        lag."""
        self._newest_ms.pop(at, None)
        self._no_lag_at.pop(at, None)
        self._end_requested_at.pop(at, None)
        for gauge in (metrics.LAG_RECORDS, metrics.LAG_SECONDS):
            with suppress(KeyError):
                gauge.remove(self._group, at[0], str(at[1]))


def _is_behind(reader: GroupReader, at: Partition, next_offset: int) -> bool:
    """Whether the last fetch reported an end after `next_offset`; True before the first fetch."""
    end = reader.high_watermark(at)
    return end < 0 or end > next_offset


def oldest_age_s(records: int, now_s: float, newest_done_ms: int | None, no_lag_at_s: float | None) -> float | None:
    """The highest possible age in seconds of the oldest record that is not processed; None if it is unknown.

    `records`: how many records are not processed. The oldest of them was written after the newest processed record, and
    after the last time without lag; the later of both times is used. Without the second time, the first record after a
    quiet night would look as old as the night is long.
    """
    if not records:
        return 0.0
    bounds = [newest_done_ms / 1000] if newest_done_ms is not None else []
    bounds += [no_lag_at_s] if no_lag_at_s is not None else []
    return max(0.0, now_s - max(bounds)) if bounds else None
