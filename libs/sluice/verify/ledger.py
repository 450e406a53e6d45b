"""Checks the ledger lines of all groups (I5): the offset ranges have no gap, the outcomes sum to the visible records,
and the number of visible records is that of the log, where the log is not compacted yet."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from sluice.golden.rows import ledger_lines
from sluice.kafka.log import Partition
from sluice.kafka.record import read_records
from sluice.stage.ledger import OUTCOMES, ledger_key
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.offsets import VisibleOffsets


@dataclass(slots=True)
class PartitionLedger:
    """The ledger lines of one (group, topic, partition), in 32 bytes a line. `reached`: the highest end of a range.

    `rereads`: a range may start below the end of the range before it without a reset. True for a sink, which cannot
    commit its rows and its offsets at once.
    """

    rereads: bool = False
    reached: int = -1
    lines: int = 0
    _last_to: int = -1
    # Four numbers for each line: start, end, visible records, and an index into `_versions`.
    _numbers: array[int] = field(default_factory=lambda: array("q"))
    _versions: list[Mapping[str, int]] = field(default_factory=list)

    def add(self, line: Mapping[str, Any]) -> Iterator[str]:
        """Add the next line. Yields each error in it as a clause."""
        start, end = int(line["from"]), int(line["to"])
        outcomes = sum(int(line[name]) for name in OUTCOMES)
        if outcomes != line["visible"]:
            yield f"[{start}, {end}) had {line['visible']} visible records, but outcomes of {outcomes}"
        if end < start:
            yield f"[{start}, {end}) ends before it begins"
        if self.lines and not line["reset"]:
            if start > self._last_to:
                yield f"[{start}, {end}) leaves out offsets {self._last_to} to {start - 1}, but is no reset"
            elif start < self._last_to and not self.rereads:
                yield f"[{start}, {end}) begins before offset {self._last_to}, but is no reset"
        self.lines += 1
        self._last_to = end
        self.reached = max(self.reached, end)
        if not self._versions or self._versions[-1] != line["versions"]:
            self._versions.append(dict(line["versions"]))
        self._numbers.extend((start, end, int(line["visible"]), len(self._versions) - 1))

    def recount(self, at: Partition, visible: VisibleOffsets, young_from: int) -> Iterator[str]:
        """Compare the number of visible records of each line with the log. Yields each difference as a clause.

        Ranges that start below offset `young_from` are skipped, because compaction may have removed records from them.
        """
        for at_line in range(0, len(self._numbers), 4):
            start, end, recorded, _ = self._numbers[at_line : at_line + 4]
            if start >= young_from and end <= visible.ends[at]:
                counted = visible.count(at, start, end)
                if counted != recorded:
                    yield f"[{start}, {end}) has {recorded} visible records, but the log has {counted}"

    def version_at(self, offset: int, mapping: str) -> int | None:
        """The version of `mapping` when the record at `offset` was last read; None if no line covers the offset.

        Versions never decrease. So a record that was read before the first line was read with at most the version of
        that line, which is returned.
        """
        for at in range(4 * self.lines - 4, -1, -4) if len(self._versions) > 1 else ():
            if self._numbers[at] <= offset < self._numbers[at + 1]:
                return self._versions[self._numbers[at + 3]].get(mapping, 0)
        known = len(self._versions) == 1 and offset < self.reached
        return self._versions[0].get(mapping, 0) if known or (self.lines and offset < self._numbers[0]) else None


class LedgerCheck:
    """The ledgers of every input partition of every group, and the findings in them."""

    def __init__(self, context: VerifyContext) -> None:
        self._context = context
        self._ledgers = {
            (stage.group, at): PartitionLedger(rereads=bool(stage.sink))
            for stage in context.stages
            for at in context.partitions_of(stage.topics)
        }

    def read(self, sinks: Sequence[OpenSink], committed: Mapping[str, Mapping[Partition, int]]) -> None:
        """Read every line and report each error in it. `committed`: the offsets by group, read before the lines."""
        by_key = {ledger_key(group, *at).decode(): ledger for (group, at), ledger in self._ledgers.items()}
        for key, line in chain(self._topic_lines(), *(ledger_lines(one.connection, one.schema) for one in sinks)):
            # The ledger topic also has the lines of other pipelines.
            if (ledger := by_key.get(key)) is not None:
                self._context.report.checked["ledger lines"] += 1
                for wrong in ledger.add(line):
                    self._found(key, wrong)
        for (group, at), ledger in self._ledgers.items():
            offset = committed[group].get(at, 0)
            if ledger.lines and offset > ledger.reached:
                what = f"the group committed {offset}, but the ledger ends at {ledger.reached}"
                self._found(ledger_key(group, *at).decode(), what)

    def recount(self, visible: VisibleOffsets) -> None:
        """Compare the ranges with the logs in `visible`, except where compaction may have removed records."""
        young = self._young_offsets(list(visible.ends))
        for (group, at), ledger in self._ledgers.items():
            if at in visible.ends and at in young:
                for wrong in ledger.recount(at, visible, young[at]):
                    self._found(ledger_key(group, *at).decode(), wrong)

    def version_at(self, group: str, at: Partition, offset: int, mapping: str) -> int | None:
        """See `PartitionLedger.version_at`."""
        return self._ledgers[group, at].version_at(offset, mapping)

    def _topic_lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        spans = self._context.reader.spans([(self._context.pipeline.names.ledger, 0)])
        for record in read_records(self._context.reader, spans):
            if record.key is not None and record.value is not None:
                yield record.key.decode(errors="replace"), orjson.loads(record.value)

    def _found(self, key: str, what: str) -> None:
        self._context.report.found("I5", key, "", what)

    def _young_offsets(self, partitions: list[Partition]) -> dict[Partition, int]:
        """By partition, the first offset whose record is younger than the topic's `min.compaction.lag.ms`."""
        configs = self._context.topics.configs(sorted({topic for topic, _ in partitions}))
        lags = {topic: int(config["min.compaction.lag.ms"]) for topic, config in configs.items()}
        now_ms = int(time.time() * 1000)
        young: dict[Partition, int] = {}
        for lag_ms in set(lags.values()):
            of_lag = [at for at in partitions if lags[at[0]] == lag_ms]
            found = self._context.reader.at_time(of_lag, max(0, now_ms - lag_ms))
            young |= {at: offset for at, offset in found.items() if offset >= 0}
        return young
