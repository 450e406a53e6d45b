"""A consumer group whose logs are lists, for tests of the loop's decisions without a broker, turn by turn.

The scripted group and the real one pass the same contract tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from sluice.errors import DeadRecord, EnvironmentFault, SluiceError, TransactionLost
from sluice.kafka import KafkaSettings
from sluice.kafka.log import Partition
from sluice.kafka.record import End, Record
from sluice.settings.stage import StageSettings
from sluice.stage.batch import Batch, OutputRecord
from sluice.stage.commit import Delivered, Delivery
from sluice.stage.group import ConsumerLost, GroupReader
from sluice.stage.loop import Stage
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.process import Handled, Owned, Process
from sluice.stage.signals import Stop
from sluice.telemetry import Health

DLQ = "dlq.scripted"


class ScriptedGroup(GroupReader):
    """A member of a group whose coordinator is the test (`assign`, `revoke`). `reading`: the next offset of each
    partition that is not paused. `tests/contract/stage/test_group_reader.py` is its contract."""

    def __init__(
        self, logs: dict[Partition, list[Record]], each_turn: Callable[[int], None] = lambda turn: None
    ) -> None:
        super().__init__(KafkaSettings(), "scripted", "0", {topic: f"id of {topic}" for topic, _ in sorted(logs)})
        self._logs = logs
        self._each_turn = each_turn
        self._is_open = False
        self._given: list[Partition] = []
        self._committed: dict[Partition, int] = {}
        self._fetched: dict[Partition, int] = {}
        self.turns = 0
        self.reading: dict[Partition, int] = {}
        self.end_known = True
        self.away: SluiceError | None = None
        self.fetches_slowly = False
        self._sought: set[Partition] = set()

    # ── the coordinator ───────────────────────────────────────────────────────────────────────────────────────

    def assign(self, parts: Iterable[Partition]) -> None:
        """Assign partitions to this member: now, or when it joins."""
        given = list(parts)
        self._given += given
        if self._is_open:
            self.assigned += given

    def revoke(self, parts: Iterable[Partition]) -> None:
        revoked = set(parts)
        self._given = [at for at in self._given if at not in revoked]
        self._lose(revoked)

    def _lose(self, revoked: set[Partition]) -> None:
        self.assigned = [at for at in self.assigned if at not in revoked]
        self.revoked += revoked
        self.reading = {at: offset for at, offset in self.reading.items() if at not in revoked}
        self._fetched = {at: end for at, end in self._fetched.items() if at not in revoked}

    def arrive(self, at: Partition, value: bytes) -> None:
        """Append a record to the log of `at`."""
        self._logs[at].append(Record(*at, len(self._logs[at]), b"k", value, {}, 1_000))

    # ── the member ────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> None:
        self.close()
        self._is_open = True
        self.assigned += self._given

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._lose(set(self._given))

    def take(self, records_max: int, timeout_s: float) -> list[Record | End]:
        self._each_turn(self.turns)
        self.turns += 1
        taken: list[Record | End] = []
        sought, self._sought = self._sought, set()
        for at, offset in self.reading.items():
            if at in sought and self.fetches_slowly:
                continue  # the next fetch returns the sought records
            end = len(self._logs[at])
            if offset > end:
                raise ConsumerLost(f"{at[0]}/{at[1]}: offset {offset} is not in the log")
            records = self._logs[at][offset : offset + records_max - len(taken)]
            at_end = offset + len(records) == end
            if at_end and (records or at not in self._fetched):
                taken += [*records, End(*at, end)]
            else:
                taken += records
            if at_end:
                self._fetched[at] = end
            self.reading[at] = offset + len(records)
        return taken

    def committed(self, at: Partition) -> int | None:
        return self._committed.get(at)

    def commit(self, offsets: dict[Partition, int]) -> None:
        self._committed |= offsets

    def read_from(self, at: Partition, offset: int) -> None:
        if at not in self._given:
            raise TransactionLost(f"reading {at[0]}/{at[1]} from {offset} on: _STATE")
        self.reading[at] = offset
        self._sought.add(at)

    def pause(self, at: Partition) -> None:
        self.reading.pop(at, None)

    def high_watermark(self, at: Partition) -> int:
        """As of the last fetch; unknown for a partition that is paused."""
        return self._fetched.get(at, -1_001) if self.end_known else -1_001

    def end(self, at: Partition) -> int:
        if self.away is not None:
            raise self.away
        return len(self._logs[at])


class Outputs(Delivery):
    """A delivery into a list. It raises `fault` while that is set, and the error in `refused` for a batch with such a
    value. `noted`: how many times each partition's record was written."""

    dlq_topic = DLQ

    def __init__(self) -> None:
        self.delivered: list[OutputRecord] = []
        self.paused_at: dict[Partition, float] = {}
        self.noted: Counter[Partition] = Counter()
        self.fault: SluiceError | None = None
        self.refused: dict[bytes, SluiceError] = {}

    def open(self) -> None:
        return

    def close(self) -> None:
        return

    def deliver(self, batch: Batch, owned: Iterable[Owned], reader: GroupReader) -> Delivered | None:
        partitions = list(owned)
        if self.fault is not None:
            raise self.fault
        for output in batch.outputs:
            if (refusal := self.refused.get(output.value or b"")) is not None:
                raise refusal
        self.delivered += batch.outputs
        # Like a real delivery, write only records that changed or must be written.
        moved = [one for one in partitions if one.record_is_stale]
        self.noted.update(one.at for one in moved)
        self.paused_at |= {one.at: one.record.paused_at for one in moved}
        for one in partitions:
            one.must_write = False
        return Delivered(batch, partitions, {})


class Repeat(Process):
    """Repeats each record in topic `out`; the value `die` is a dead letter. `records`: the existing partition records;
    `refused`: the partitions that cannot start."""

    def __init__(self, records: dict[Partition, PartitionRecord], refused: dict[Partition, EnvironmentFault]) -> None:
        self._records = records
        self._refused = refused

    def start(self, owned: Owned) -> Iterator[None]:
        if (fault := self._refused.get(owned.at)) is not None:
            raise fault
        owned.record = self._records.get(owned.at, owned.record)
        yield

    def handle(self, record: Record, batch: Batch) -> Handled:
        if record.value == b"die":
            raise DeadRecord("requested", "the record says so")
        batch.add_checked("out", record.key, record.value, (), 0)
        batch.count(record.at, "mapped")
        return Handled.DONE


class ScriptedStage:
    """A stage on `logs`, the values of each partition."""

    def __init__(
        self,
        logs: dict[Partition, list[bytes]],
        *,
        end_known: bool = True,
        settings: StageSettings = StageSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._logs = {
            at: [Record(*at, offset, b"k", value, {}, 1_000) for offset, value in enumerate(values)]
            for at, values in logs.items()
        }
        self.records: dict[Partition, PartitionRecord] = {}
        self.refused: dict[Partition, EnvironmentFault] = {}
        self.outputs = Outputs()
        self.health = Health()
        self._end_known = end_known
        self.fetches_slowly = False
        self._settings = settings
        self.group = ScriptedGroup(self._logs, lambda turn: None)

    def run(self, turns: int, each_turn: Callable[[int, ScriptedStage], None] = lambda turn, stage: None) -> None:
        """Run so many turns. `each_turn` is called with the number of each, and with -1 before the group is joined."""
        stop = Stop()

        def at_turn(turn: int) -> None:
            each_turn(turn, self)
            if turn == turns:
                stop.request()

        self.group = ScriptedGroup(self._logs, at_turn)
        self.group.end_known = self._end_known
        self.group.fetches_slowly = self.fetches_slowly
        each_turn(-1, self)
        Stage(
            name="scripted",
            settings=self._settings,
            reader=self.group,
            process=Repeat(self.records, self.refused),
            delivery=self.outputs,
            health=self.health,
        ).run(stop)

    def arrive(self, at: Partition, values: list[bytes]) -> None:
        """Append records to `at`."""
        self._logs[at] += [
            Record(*at, len(self._logs[at]) + n, b"k", value, {}, 1_000) for n, value in enumerate(values)
        ]

    def written(self, topic: str) -> list[bytes | None]:
        return [output.value for output in self.outputs.delivered if output.topic == topic]
