"""A batch: the effects of the records that were read, and their size. One delivery makes a batch durable (see
`sluice.stage.commit`)."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from sluice.errors import DeadRecord
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.stage.dead_letters import cause_of, dead_letter
from sluice.stage.ledger import Outcome

RECORD_OVERHEAD_BYTES = 64
# max.message.bytes of our topics is 8 MiB. The difference is room for what Kafka adds to a record and to its batch.
OUTPUT_BYTES_MAX = 8 * 1024 * 1024 - 64 * 1024


class OutputRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to write. `partition`: -1 if the producer chooses it by the key. The garbage collector does not visit
    output records, because a batch has thousands."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int

    @property
    def size_bytes(self) -> int:
        """The bytes of key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value)
        return size


def output_too_large() -> DeadRecord:
    return DeadRecord("output-too-large", f"an output of the record exceeds {OUTPUT_BYTES_MAX} bytes")


class Batch:
    """What one delivery makes durable at once. The stage's `Process` adds outputs; `Delivery` writes and commits
    them. `full`: a limit of bytes or age is reached.

    * `handled`: the number of calls of `Process.handle` for this batch. `dead`: the number of dead letters.
    * `dead_by_cause`, `dead_by_topic`: the number of dead letters by cause, and by input topic.
      `dead_counted_by_topic`: of the latter, those that `DeadLetterGuard` has counted.
    * `newest_ms`: by partition, the timestamp of the record with the highest offset that is finished (Unix ms).
    * `records_of`: the partitions whose partition record (the stage's stored progress) is written with this batch.
    """

    def __init__(self, stage: str, dlq_topic: str, bytes_max: int, age_max_s: float) -> None:
        self.stage = stage
        self.outputs: list[OutputRecord] = []
        self.bytes = 0
        self.handled = self.dead = 0
        self.counts: dict[Partition, Counter[Outcome]] = defaultdict(Counter)
        self.dead_by_cause: Counter[str] = Counter()
        self.dead_by_topic: Counter[str] = Counter()
        self.dead_counted_by_topic: Counter[str] = Counter()
        self.newest_ms: dict[Partition, int] = {}
        self.records_of: set[Partition] = set()
        self._dlq_topic = dlq_topic
        self._bytes_max = bytes_max
        self.created_at_s = time.monotonic()
        self._full_at_s = self.created_at_s + age_max_s

    def add_checked(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], partition: int
    ) -> None:
        """Add one output record. Raises DeadRecord if it is too large for our topics."""
        output = OutputRecord(topic, key, value, headers, partition)
        size_bytes = output.size_bytes
        if size_bytes > OUTPUT_BYTES_MAX:
            raise output_too_large()
        self._append(output, size_bytes)

    def park(self, record: Record, error: DeadRecord, mapping_version: int | None = None) -> None:
        """Add the dead letter of `record`. The caller counts the outcome, because a record may fail in one mapping and
        succeed in another."""
        letter = dead_letter(self.stage, record, error, mapping_version)
        self.add(OutputRecord(self._dlq_topic, *letter, -1))
        self.dead += 1
        self.dead_by_cause[cause_of(self.stage, error)] += 1
        self.dead_by_topic[record.topic] += 1

    def add(self, output: OutputRecord) -> None:
        """Add one output record. The caller has checked that it is not too large for our topics."""
        self._append(output, output.size_bytes)

    def _append(self, output: OutputRecord, size_bytes: int) -> None:
        self.outputs.append(output)
        self.bytes += size_bytes + RECORD_OVERHEAD_BYTES * (1 + len(output.headers))

    def count(self, at: Partition, outcome: Outcome) -> None:
        self.counts[at][outcome] += 1

    def write_record_of(self, at: Partition) -> None:
        """Write the partition record of `at` with this batch, because it changed."""
        self.records_of.add(at)

    @property
    def full(self) -> bool:
        return self.bytes >= self._bytes_max or time.monotonic() > self._full_at_s

    @property
    def empty(self) -> bool:
        return not (self.outputs or self.counts or self.records_of or self.handled)
