"""One ledger checked: ranges meet, outcomes sum up, and a recount agrees with the log as far as it is not compacted."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.kafka.log import Partition
from sluice.stage.batch import OUTCOMES
from sluice.verify.visible import VisibleOffsets


@dataclass(slots=True)
class PartitionLedger:
    """The lines of one (group, topic, partition), added in their order; 32 bytes a line. `reached`: the highest end.

    `rereads`: a range may begin before the end of the last one without a reset. True for a sink, which cannot commit
    its rows and its offsets at once.
    """

    rereads: bool = False
    reached: int = -1
    lines: int = 0
    _last_to: int = -1
    _from: array[int] = field(default_factory=lambda: array("q"))
    _to: array[int] = field(default_factory=lambda: array("q"))
    _visible: array[int] = field(default_factory=lambda: array("q"))
    _version: array[int] = field(default_factory=lambda: array("q"))
    _versions: list[Mapping[str, int]] = field(default_factory=list)

    def add(self, line: Mapping[str, Any]) -> Iterator[str]:
        """Take the next line. Yields what is wrong with it."""
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
        self._keep(start, end, int(line["visible"]), line["versions"])

    def _keep(self, start: int, end: int, visible: int, versions: Mapping[str, int]) -> None:
        self.lines += 1
        self._last_to = end
        self.reached = max(self.reached, end)
        if not self._versions or self._versions[-1] != versions:
            self._versions.append(dict(versions))
        for column, value in ((self._from, start), (self._to, end), (self._visible, visible)):
            column.append(value)
        self._version.append(len(self._versions) - 1)

    def recount(self, at: Partition, visible: VisibleOffsets, young_from: int) -> Iterator[str]:
        """Compare each range with the log. No record from `young_from` on can be compacted away yet."""
        for start, end, recorded in zip(self._from, self._to, self._visible, strict=True):
            if start >= young_from and end <= visible.ends[at]:
                counted = visible.count(at, start, end)
                if counted != recorded:
                    yield f"[{start}, {end}) has {recorded} visible records, but the log has {counted}"

    def version_at(self, offset: int, mapping: str) -> int | None:
        """The mapping's version when `offset` was last read; None if no line covers it.

        Versions never fall, so a record that was read before the first line had at most that line's version.
        """
        for index in range(self.lines - 1, -1, -1) if len(self._versions) > 1 else ():
            if self._from[index] <= offset < self._to[index]:
                return self._versions[self._version[index]].get(mapping, 0)
        known = len(self._versions) == 1 and offset < self.reached
        return self._versions[0].get(mapping, 0) if known or (self.lines and offset < self._from[0]) else None
