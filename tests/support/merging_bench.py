"""A merger on one partition, driven by hand: contributions in, the canonical log out; commits, crashes, rewinds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, cast

import orjson
from msgspec.structs import astuple

from sluice.entities import Entity, EntityContract, Identity, prefer
from sluice.errors import DeadRecord
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record
from sluice.names import Names
from sluice.position import Position
from sluice.provenance import CanonicalRecord, Contribution, RawRef
from sluice.schemas.encoder import Encode, make_encoder
from sluice.stage.batch import Batch
from sluice.stage.partition_record import PartitionRecord, partition_key
from sluice.stage.process import Owned
from sluice.state import Expiry, StateBackend
from sluice_merger.inputs import EntityInput, MergerTopics
from sluice_merger.merger import Merger
from support.memory_log import LogMessage, MemoryLogs
from support.memory_store import MemoryStore

IN, OUT, STATE = "contributions.person", "canonical.person", "state.merger.contributions.person"
SOURCES = ("hr", "erp")


class Person(Entity):
    number: Annotated[str, Identity()]
    name: Annotated[str, prefer("hr", "erp")]
    pay: str | None


class PersonByErp(Entity, name="person"):
    number: Annotated[str, Identity()]
    name: Annotated[str, prefer("erp", "hr")]
    pay: str | None


class MergerBench:
    """Everything Kafka keeps is in `logs`; what the process keeps locally is in `store`, lost by `crash(lose=True)`."""

    def __init__(self, contract: EntityContract, sources: tuple[str, ...] = SOURCES) -> None:
        self.logs = MemoryLogs()
        self.logs.ids = {IN: "in-id"}
        self.store = MemoryStore()
        self.next_offset = 0
        self.outcomes: list[str] = []
        self._committed: int | None = None
        self.use(contract, sources)

    def use(self, contract: EntityContract, sources: tuple[str, ...] = SOURCES) -> None:
        """Deploy this contract: a new process on the same state."""
        self._contract, self._sources = contract, sources
        self._start_process()

    def _start_process(self) -> None:
        for _ in self._starting():
            pass
        self.next_offset = self.owned.next_offset
        self.batch = self._new_batch()

    def _starting(self) -> Iterator[None]:
        """Create the process, and start its partition."""
        inputs = {IN: EntityInput(self._contract, _encoder(self._contract), "in-id", OUT, "out-id", STATE, "state-id")}
        reader = cast(LogReader, self.logs)
        state_backend = StateBackend(self.store, reader, Expiry(reader, first_pass_after_s=0.0))
        self.merger = Merger(Names(), self._sources, MergerTopics(inputs), state_backend)
        self.owned = Owned((IN, 0), "in-id", self._committed, PartitionRecord("in-id", 0))
        return self.merger.start(self.owned)

    def _new_batch(self) -> Batch:
        return Batch("merger", "dlq.merger", 1 << 30, 60.0)

    # ── contributions ─────────────────────────────────────────────────────────────────────────────────────────

    def claim(
        self, entity_id: str, source: str, position: str, /, *, retracted: bool = False, **fields: Any
    ) -> Contribution:
        """Append a contribution of `source` to the log."""
        contribution = Contribution(
            entity_id=entity_id,
            source=source,
            stream="people",
            source_key=f'{{"id":"{entity_id}"}}',
            mapping=f"from_{source}",
            mapping_version=1,
            output="main",
            position=Position.parse(position),
            raw=RawRef(f"raw.{source}.people", 0, 0),
            observed_at=1,
            effective_at=fields.pop("effective_at", None),
            contract=1,
            fields={} if retracted else {"number": entity_id, **fields},
            retracted=retracted,
        ).sealed()
        self.logs.append(IN, 0, contribution.key, contribution.to_json(), [])
        return contribution

    @staticmethod
    def key(entity_id: str, source: str) -> bytes:
        """The key of the contributions that `claim` makes."""
        return orjson.dumps([entity_id, source, "people", f'{{"id":"{entity_id}"}}', f"from_{source}", "main"])

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────

    def work(self) -> None:
        """Background work into the open batch."""
        self.merger.work(self.batch)

    def drain(self) -> None:
        """The background work, batch by batch, as the loop does it before it takes records."""
        while self.merger.busy((IN, 0)):
            self.merger.work(self.batch)
            self.commit()

    def housekeep(self) -> None:
        """One slice of the work that is done when there is nothing else to do."""
        self.drain()
        self.merger.work(self.batch)
        self.commit()

    def run(self) -> None:
        """Drain, then take every record there is, each in a batch of its own."""
        self.drain()
        while self.next_offset < self.logs.ends([(IN, 0)])[IN, 0]:
            self.take()
            self.commit()

    def take(self) -> None:
        """One record into the open batch."""
        message = next((m for m in self.logs.messages(IN) if m.offset() >= self.next_offset), None)
        if message is None:
            self.next_offset = self.logs.ends([(IN, 0)])[IN, 0]
            return
        record = Record(IN, 0, message.offset(), message.key(), message.value(), dict(message.headers()), 0)
        try:
            self.merger.handle(record, self.batch)
        except DeadRecord as error:
            self.batch.park(record, error)
            self.batch.count(record.at, "dead")
        self.next_offset = record.offset + 1

    def commit(self) -> None:
        """The batch becomes durable, its partition record last."""
        self.merger.complete(self.batch)
        offsets_after: dict[Partition, int] = {}
        for topic, key, value, headers, _ in map(astuple, self.batch.outputs):
            offsets_after[topic, 0] = self.logs.append(topic, 0, key, value, list(headers)) + 1
        self.owned.record.processed = self.next_offset
        key, value = partition_key(0), self.owned.record.to_json()
        self.owned.view.put(key, value)
        offsets_after[STATE, 0] = self.logs.append(STATE, 0, key, value, []) + 1
        self.owned.next_offset = self.next_offset
        self._committed = self.next_offset
        for counts in self.batch.counts.values():
            self.outcomes += counts.elements()
        self.merger.committed(self.batch, offsets_after)
        self.batch = self._new_batch()

    def drop(self) -> None:
        """The open batch is given up; its records are offered again."""
        self.merger.given_up()
        self.next_offset = self._committed or 0
        self.batch = self._new_batch()

    def crash(self, *, lose: bool = False, lost_writes: int = 0) -> None:
        """The process dies with its open batch; `lose`: and with its disk. `lost_writes`: so many of the store's newest
        writes were not on its disk."""
        if lose:
            self.store = MemoryStore()
        self.store.lose(lost_writes)
        self._start_process()

    def die_while_starting(self, contract: EntityContract, slices: int) -> None:
        """Deploy `contract`; the new process dies when its start has yielded `slices` times."""
        self._contract = contract
        for _ in islice(self._starting(), slices):
            pass

    def rewind(self, offset: int) -> None:
        self._committed = offset
        self._start_process()

    # ── what is visible ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def canonical(self) -> list[LogMessage]:
        return self.logs.messages(OUT)

    def golden(self) -> dict[str, str | None]:
        """The newest value of each entity, None for a tombstone."""
        newest = {(m.key() or b"").decode(): m.value() for m in self.canonical}
        return {entity_id: value.decode() if value else None for entity_id, value in newest.items()}


def _encoder(contract: EntityContract) -> Encode:
    """Fields as text, where Avro takes them: what it makes of them is tested elsewhere."""
    avro = make_encoder(contract, 1)

    def encode(record: CanonicalRecord) -> bytes:
        avro(record)
        return repr({k: v for k, v in record.fields.items() if v is not None}).encode()

    return encode
