"""A mapper on one partition, driven by hand: records in, the contributions log out; commits, crashes, rewinds.

The process under test is the real one on a MemoryStore; what the loop and Kafka do around it is played here: state
written in a committed batch survives a crash, nothing else does.
"""

from __future__ import annotations

from typing import Any, cast

import orjson

from sluice.cdc.debezium import UNAVAILABLE
from sluice.entities import Mapping
from sluice.errors import DeadRecord
from sluice.headers import UNCHANGED_HEADER
from sluice.kafka import LogReader
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.pipeline import SourceStream
from sluice.position import Position
from sluice.provenance import Contribution
from sluice.raw.writing import sweep_key
from sluice.stage.batch import Batch
from sluice.stage.partition_record import PartitionRecord
from sluice.stage.process import Handled, Owned
from sluice.state import Expiry, StateBackend, View
from sluice_mapper.connector_positions import ConnectorPositions
from sluice_mapper.inputs import MapperTopics, RawInput
from sluice_mapper.mapper import SLICE_KEYS, Mapper
from sluice_mapper.schema_sample import SchemaSample
from support.memory_log import MemoryLogs
from support.memory_store import MemoryStore

TOPIC = "raw.erp.public.employee"
STATE = "state.mapper.raw.erp.public.employee"
STREAM = "public.employee"


def left_out(row: dict[str, Any]) -> dict[str, bytes]:
    """The header that ingress writes for an event of `row`, whose left-out columns have the value `UNAVAILABLE`."""
    names = [name for name, value in row.items() if value == UNAVAILABLE]
    return {UNCHANGED_HEADER: orjson.dumps(names)} if names else {}


class RestoredMapper(Mapper):
    """A mapper that takes a partition whose state is restored already."""

    def take(self, owned: Owned) -> None:
        self._owned[owned.at] = owned
        self._parts[owned.at] = self._parts_of(owned)

    def read_epochs_from(self, logs: MemoryLogs, control: str) -> None:
        """Read the epochs of a connector from the topic `control` of `logs`."""
        self._connector_positions = ConnectorPositions(cast(LogReader, logs), control)

    def takes_fast_path(self, record: Record, batch: Batch) -> bool:
        """Whether the fast path decides about `record`. If so, its effects are in `batch`."""
        fast_step = self._parts[record.at].fast_step
        return fast_step is not None and fast_step(record, batch)


class MapperBench:
    """`mappings` read one CDC stream (or a polled one, `kind="poll"`) in a single partition."""

    def __init__(
        self,
        *mappings: Mapping,
        kind: Any = "cdc",
        batch_bytes_max: int = 1 << 30,
        slice_keys: int = SLICE_KEYS,
        process: type[RestoredMapper] = RestoredMapper,
        sample: SchemaSample | None = None,
    ) -> None:
        self._process = process
        self._inputs = {
            TOPIC: RawInput(SourceStream("erp", STREAM, kind), mappings, "raw-id", STATE, "state-id", sample)
        }
        self._bytes_max = batch_bytes_max
        self._slice_keys = slice_keys
        self.log: list[Record] = []
        self.contributions: list[tuple[bytes, Contribution]] = []
        self.dead: list[str] = []
        self.outcomes: list[str] = []
        self.state: dict[bytes, bytes] = {}
        self.state_age_s = 0.0
        self.record = PartitionRecord("raw-id", 0)
        self.next_offset = 0
        self._start_process()

    def read_epochs_from(self, logs: MemoryLogs, control: str) -> None:
        self._mapper.read_epochs_from(logs, control)

    def _start_process(self) -> None:
        store = MemoryStore()
        reader = cast(LogReader, self._state_log())
        state_backend = StateBackend(store, reader, Expiry(reader, first_pass_after_s=0.0))
        self._mapper = self._process(Names(), 1, MapperTopics(self._inputs, {}), state_backend, self._slice_keys)
        view = View(store, STATE, 0, "state-id")
        for key, value in self.state.items():
            view.put(key, value)
        view.advance(0)
        record = PartitionRecord.from_json(self.record.to_json())
        self._owned = Owned((TOPIC, 0), "raw-id", self.next_offset, record, view)
        self._mapper.take(self._owned)
        self.batch = self._new_batch()

    def _state_log(self) -> MemoryLogs:
        """The state topic as it is now, written `state_age_s` ago."""
        logs = MemoryLogs()
        logs.now_ms -= int(self.state_age_s * 1_000)
        for key, value in self.state.items():
            logs.append(STATE, 0, key, value, [])
        return logs

    def _new_batch(self) -> Batch:
        return Batch("mapper", "dlq.mapper", self._bytes_max, 60.0)

    # ── the source ────────────────────────────────────────────────────────────────────────────────────────────

    def change(
        self,
        key: int,
        position: str,
        row: dict[str, Any] | None,
        op: str = "u",
        headers: dict[str, bytes] | None = None,
    ) -> None:
        """Append a Debezium change event; `row` None is a delete.

        A column with the value `UNAVAILABLE` was left out, unless the headers say otherwise.
        """
        envelope = {
            "before": None,
            "after": row,
            "source": {"ts_ms": 1_000, "ts_us": 1_000_000},
            "op": "d" if row is None else op,
        }
        headers = {**left_out(row or {}), **(headers or {})}
        self.append(orjson.dumps({"id": key}), orjson.dumps(envelope), position, headers)

    def sweep(self, position: str) -> None:
        self.append(sweep_key(STREAM), b"", position, {"sluice-op": b"s"})

    def append(
        self, key: bytes | None, value: bytes | None, position: str, headers: dict[str, bytes] | None = None
    ) -> None:
        headers = {"sluice-position": position.encode(), **(headers or {})}
        self.log.append(Record(TOPIC, 0, len(self.log), key, value, headers, 1_000))

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Handle every record from the next offset on, each committed with its effects."""
        while self.next_offset < len(self.log):
            self.step()
            self.commit()
            while self.busy:
                self.work()
                self.commit()

    def step(self) -> bool:
        """Handle one record into the open batch; False if it waits for background work."""
        record = self.log[self.next_offset]
        try:
            taken = self._mapper.handle(record, self.batch)
        except DeadRecord as error:
            self.batch.park(record, error)
            self.batch.count(record.at, "dead")
            taken = Handled.DONE
        self.next_offset += taken is Handled.DONE
        return taken is Handled.DONE

    def takes_fast_path(self) -> bool:
        """Whether the fast path decides about the last record. If so, its effects are in the open batch."""
        return self._mapper.takes_fast_path(self.log[-1], self.batch)

    def work(self) -> None:
        self._mapper.work(self.batch)

    @property
    def busy(self) -> bool:
        return self._mapper.busy((TOPIC, 0))

    def commit(self) -> None:
        """The batch is durable: outputs, state and partition record at once."""
        for output in self.batch.outputs:
            if output.topic == STATE:
                assert output.key is not None
                if output.value is None:
                    del self.state[output.key]
                else:
                    self.state[output.key] = output.value
            elif output.topic.startswith("contributions."):
                assert output.key is not None
                assert output.value is not None
                claim = Contribution.from_json(output.value)
                assert (output.key, output.value) == (claim.key, claim.sealed().to_json())
                self.contributions.append((output.key, claim))
            else:
                self.dead.append(dict(output.headers)["sluice-kind"].decode())
        for counts in self.batch.counts.values():
            self.outcomes += counts.elements()
        self.record = PartitionRecord.from_json(self._owned.record.to_json())
        self._mapper.committed(self.batch, {})
        self.batch = self._new_batch()

    def crash(self, committed_offset: int) -> None:
        """The process dies with its open batch; another one starts at the committed offset."""
        self.next_offset = committed_offset
        self._start_process()

    @property
    def known_keys(self) -> set[bytes]:
        """Raw keys that have a state in the state topic."""
        return set(self.state)

    def housekeep_after(self, age_s: float) -> None:
        """Let the state get this old; then a new process does its background work."""
        self.state_age_s = age_s
        self.crash(self.next_offset)
        self.work()
        self.commit()

    def rewind(self, offset: int) -> None:
        """An operator resets the group of the stopped stage to `offset`."""
        self.crash(offset)

    # ── what is visible ───────────────────────────────────────────────────────────────────────────────────────

    def newest(self) -> dict[str, Contribution]:
        """The last readable contribution of each key, retractions included, by entity id and mapping."""
        found: dict[bytes, Contribution] = dict(self.contributions)
        return {f"{c.entity_id}/{c.mapping}/{c.output}": c for c in found.values()}

    def live(self) -> dict[str, dict[str, Any]]:
        """Fields of what is claimed now."""
        return {name: dict(c.fields) for name, c in self.newest().items() if not c.retracted}


def position(text: str) -> Position:
    return Position.parse(text)
