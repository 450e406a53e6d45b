"""A batch: what was read, what it leads to, and how much that weighs. One batch is one transaction."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.stage.dead_letters import cause_of, dead_letter
from sluice.stage.ledger import Outcome
from sluice.stage.record import Record

RECORD_OVERHEAD_BYTES = 64
# Under max.message.bytes (8 MiB) of our topics, with room for key and headers.
OUTPUT_BYTES_MAX = 8 * 1024 * 1024 - 64 * 1024


class Output(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int


def require_size(values: Iterable[bytes]) -> None:
    """Raises DeadRecord if one of `values` is larger than any of our topics takes."""
    if any(len(value) > OUTPUT_BYTES_MAX for value in values):
        raise DeadRecord("output-too-large", f"what the record leads to exceeds {OUTPUT_BYTES_MAX} bytes")


class Batch:
    """Filled by a stage's process, ended by its delivery. `full` cuts it by output bytes and by age."""

    def __init__(self, stage: str, dlq_topic: str, bytes_max: int, age_max_s: float) -> None:
        self.stage = stage
        self.outputs: list[Output] = []
        self.bytes = 0
        self.counts: dict[Partition, Counter[Outcome]] = defaultdict(Counter)
        self.dead: Counter[str] = Counter()
        self.positions: dict[Partition, int] = {}
        self.newest_ms: dict[Partition, int] = {}  # timestamp of the last record that is done with this batch
        self.touched: set[Partition] = set()
        self._dlq_topic = dlq_topic
        self._bytes_max = bytes_max
        self._cut_at = time.monotonic() + age_max_s
        self.began = time.monotonic()

    def emit(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], partition: int
    ) -> None:
        """Add one output record; `partition` -1 lets the producer choose by key.

        Raises DeadRecord for one that no topic of ours takes.
        """
        if value is not None and topic != self._dlq_topic:
            require_size([value])
        self.outputs.append(Output(topic, key, value, headers, partition))
        self.bytes += len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES * (1 + len(headers))

    def park(self, record: Record, error: DeadRecord, mapping_version: int | None = None) -> None:
        """Add the dead letter of `record`. The outcome is counted by the caller: a record may fail in one mapping
        and succeed in another."""
        body, headers = dead_letter(self.stage, record, error, mapping_version)
        self.emit(self._dlq_topic, record.key, body, headers, -1)
        self.dead[cause_of(self.stage, error)] += 1

    def count(self, at: Partition, outcome: Outcome) -> None:
        self.counts[at][outcome] += 1

    def touch(self, at: Partition) -> None:
        """The partition record of `at` changed and must be written with this batch."""
        self.touched.add(at)

    @property
    def full(self) -> bool:
        return self.bytes >= self._bytes_max or time.monotonic() > self._cut_at

    @property
    def empty(self) -> bool:
        return not (self.outputs or self.counts or self.touched or self.positions)
