"""A pipeline whose logs and tables a test writes step by step, so that the test can do one step wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
from confluent_kafka import KafkaError, Message

from sluice.embedded import Servers
from sluice.errors import DeadRecord
from sluice.golden import binary
from sluice.golden.columns import GoldenTable
from sluice.golden.store import GoldenStore, Progress
from sluice.golden.writer import RowChange
from sluice.headers import UNCHANGED_HEADER
from sluice.kafka import KafkaSettings, LogReader, clients, murmur2_partition
from sluice.kafka.groups import set_offsets
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, record_of
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.lag import stage_inputs
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.position import Position
from sluice.provenance import Contribution, Incomplete, RawRef, merge
from sluice.schemas import Registry, avro_schema, make_encoder
from sluice.settings.stage import RegistrySettings, StageSettings
from sluice.stage.batch import Batch
from sluice.stage.ledger import ledger_key, ledger_line
from sluice.stage.partition_record import PartitionRecord, partition_key
from sluice_sink_postgres.row_decoder import make_row_decoder
from support.pace import within
from support.people import PIPELINE, Person, crm_person, erp_staff

Headers = list[tuple[str, bytes]]
NOON = "2026-03-01T12:00:00Z"


class Handmade:
    """Its methods are the steps of the flow, in order. `finish` writes rows, ledger and offsets for all records."""

    partitions = 2

    def __init__(self, servers: Servers, dsn: str, prefix: str, folder: Path) -> None:
        (folder / "dsn").write_text(dsn)
        (folder / "entities.py").write_text("from support.people import Person as Person\n")
        for source, name in (("crm", "crm_person"), ("erp", "erp_staff")):
            (folder / "sources" / source).mkdir(parents=True)
            (folder / "sources" / source / "mapping.py").write_text(f"from support.people import {name} as {name}\n")
        file = folder / "pipeline.yaml"
        file.write_text(PIPELINE.format(prefix=prefix, dsn_file=folder / "dsn"))
        self.dsn = dsn
        self.kafka = KafkaSettings(bootstrap_servers=servers.kafka.bootstrap_servers)
        self.settings = StageSettings(
            pipeline=file,
            state_dir=folder / "state",
            kafka=self.kafka,
            registry=RegistrySettings(url=servers.registry.url),
        )
        self.pipeline = load_pipeline(file)
        self.names = self.pipeline.names
        self.admin = clients.admin(self.kafka)
        self.apply_topics()
        schemas = Registry(servers.registry.url, folder / "state" / "schemas")
        contract = Person.contract()
        schema = avro_schema(contract, "people")
        schema_id = schemas.register(f"{self.names.canonical('person')}-value", schema)
        self._encode, self._schema_by_id = make_encoder(contract, schema_id), schemas.by_id
        self._producer = clients.producer(self.kafka)
        self._highest: dict[bytes, Contribution] = {}
        self._newest: dict[str, tuple[str | None, int]] = {}
        self._sequence = 0
        self._done: dict[Partition, int] = {}
        self.crm = self.names.raw("crm", "people")
        self.erp = self.names.raw("erp", "public.staff")
        self.contributions = self.names.contributions("person")
        self.canonical = self.names.canonical("person")

    def apply_topics(self) -> None:
        kinds = load_kinds(self.settings.schemas_dir / "topics")
        Topics(self.admin).apply(concrete(kinds, self.pipeline, ["person"]))

    # ── raw ───────────────────────────────────────────────────────────────────────────────────────────────────

    def raw(self, topic: str, key: str, value: bytes | None, headers: Headers | None = None) -> Record:
        """A raw record at the next position."""
        self._sequence += 1
        own: Headers = [("sluice-position", f"1:7:{self._sequence}".encode()), *(headers or [])]
        partition = murmur2_partition(key.encode(), self.partitions)
        return self.produce(topic, key.encode(), value, own, partition)

    def response(self, fetched_ms: int, body: bytes = b"{}") -> str:
        """A stored response of the CRM's API; returns its id, a UUIDv7 of that moment."""
        self._sequence += 1
        response_id = str(UUID(int=fetched_ms << 80 | 0x7 << 76 | 0x2 << 62 | self._sequence))
        headers: Headers = [
            ("http.method", b"GET"),
            ("http.url", b"https://crm/people?page=1"),
            ("http.status", b"403"),
            ("http.headers", b'{"content-type":"application/json"}'),
        ]
        self.produce(self.names.responses("crm"), response_id.encode(), body, headers, 0, fetched_ms)
        return response_id

    def person(self, number: str, name: str, response: str = "", **more: Any) -> Record:
        """A polled record of the CRM, out of a stored response."""
        value = orjson.dumps({"id": number, "name": name, "updated": NOON, **more})
        headers = [("sluice-op", b"u"), ("ce_time", NOON.encode()), ("sluice-response", response.encode())]
        return self.raw(self.crm, _key(number), value, headers)

    def delete(self, number: str) -> Record:
        """A polled delete."""
        return self.raw(self.crm, _key(number), None, [("sluice-op", b"d"), ("ce_time", NOON.encode())])

    def staff(self, number: str, pay: str, notes: str | None = None, left_out: Sequence[str] = ()) -> Record:
        """A change event of the ERP's table; its primary key is the number's digits."""
        row = {"id": int(number[1:]), "number": number, "notes": notes, "pay": pay, "since": NOON}
        value = orjson.dumps({"op": "u", "source": {"ts_ms": 1_772_366_400_000}, "after": row})
        headers = [(UNCHANGED_HEADER, orjson.dumps(list(left_out)))] if left_out else []
        return self.raw(self.erp, orjson.dumps({"id": row["id"]}).decode(), value, headers)

    # ── contributions ─────────────────────────────────────────────────────────────────────────────────────────

    def claims(self, raw: Record, **other: Any) -> list[Contribution]:
        """The mapper's claims from a raw record, with the `other` members replaced."""
        polled = raw.topic == self.crm
        mapping, source, stream = (crm_person, "crm", "people") if polled else (erp_staff, "erp", "public.staff")
        read = orjson.loads(raw.value or b"")
        claims = []
        for claim in mapping.apply(read if polled else read["after"]):
            whole = Contribution(
                entity_id=claim.entity_id,
                source=source,
                stream=stream,
                source_key=(raw.key or b"").decode(),
                mapping=mapping.name,
                mapping_version=mapping.version,
                output=claim.output,
                position=Position.parse(raw.headers["sluice-position"]),
                raw=RawRef(*raw[:3]),
                observed_at=1_772_366_400_000_000,
                effective_at=claim.effective_at,
                contract=1,
                fields=claim.fields,
                retracted=False,
            )
            claims.append(whole.replace(**other).sealed())
        return claims

    def contribute(self, claim: Contribution) -> Record:
        """Write a claim, and keep the highest of its key as the merger does."""
        highest = self._highest.get(claim.key)
        if highest is None or claim.claim_order >= highest.claim_order:
            self._highest[claim.key] = claim
        partition = murmur2_partition(claim.entity_id.encode(), self.partitions)
        return self.produce(self.contributions, claim.key, claim.to_json(), [], partition)

    def mapped(self, raw: Record, **other: Any) -> Contribution:
        """Claim what a raw record says; returns the (only) claim."""
        (claim,) = self.claims(raw, **other)
        self.contribute(claim)
        return claim

    def retract(self, claim: Contribution, by: Record) -> None:
        """Retract a claim for a delete."""
        position = Position.parse(by.headers["sluice-position"])
        retraction = claim.replace(position=position, raw=RawRef(*by[:3]), fields={}, effective_at=None, retracted=True)
        self.contribute(retraction.sealed())

    def dead_letter(self, stage: str, of: Record, code: str = "wrong-type") -> None:
        """Park a record."""
        batch = Batch(stage, self.names.dlq(stage), 1_000_000, 60)
        batch.park(of, DeadRecord(code, "of a test"))
        (dead_letter,) = batch.outputs
        self.produce(dead_letter.topic, dead_letter.key or b"", dead_letter.value, list(dead_letter.headers), 0)

    # ── canonical ─────────────────────────────────────────────────────────────────────────────────────────────

    def merged(self, number: str) -> Record | None:
        """Write the golden record of an id if its content changed."""
        contract = Person.contract()
        claims = [one for one in self._highest.values() if one.entity_id == number]
        result = merge(contract, claims, self.pipeline.source_order)
        content, revision = self._newest.get(number, (None, 0))
        now = None if isinstance(result, Incomplete) else result.content
        if now == content:
            return None
        self._newest[number] = (now, revision + 1)
        headers: Headers = [("sluice-revision", b"%d" % (revision + 1))]
        value = None
        if not isinstance(result, Incomplete):
            headers.append(("sluice-content", result.content.encode()))
            value = self._encode(result.record(revision + 1, 1_772_366_400_000_001))
        return self.golden(number, value, headers)

    def golden(self, number: str, value: bytes | None, headers: Headers) -> Record:
        """Write a canonical record as given."""
        partition = murmur2_partition(number.encode(), self.partitions)
        return self.produce(self.canonical, number.encode(), value, headers, partition)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """Write rows, ledgers and committed offsets for the records that were written since the last call."""
        for stage in stage_inputs(self.pipeline, load_mappings(self.pipeline), load_entities(self.pipeline)):
            lines = [line for topic in stage.topics for line in self._lines(topic)]
            if stage.sink:
                self._store_rows(stage.group, lines)
            else:
                for at, end, line in lines:
                    self.produce(self.names.ledger, ledger_key(stage.group, *at), line, [], 0)
                    record = PartitionRecord(Topics(self.admin).pinned([at[0]])[at[0]].topic_id, end, at=time.time())
                    state = self.names.state(stage.stage, at[0])
                    self.produce(state, partition_key(at[1]), record.to_json(), [], at[1])
            for topic in stage.topics:
                set_offsets(self.admin, stage.group, {at: end for at, end, _ in lines if at[0] == topic})

    def _lines(self, topic: str) -> Iterator[tuple[Partition, int, bytes]]:
        """(partition, its end, the ledger line from the end of the last line to this end)."""
        records = self.records(topic)
        for partition, end in self.ends(topic).items():
            start = self._done.get((topic, partition), 0)
            visible = sum(one.partition == partition and start <= one.offset < end for one in records)
            self._done[topic, partition] = end
            yield (topic, partition), end, self.line(start, end, visible)

    def _store_rows(self, group: str, lines: list[tuple[Partition, int, bytes]]) -> None:
        table = GoldenTable("golden", Person.contract())
        changes = [self._change(table, record) for record in self.records(self.canonical)]
        topic_id = Topics(self.admin).pinned([self.canonical])[self.canonical].topic_id
        store = GoldenStore("warehouse", lambda: self.dsn, "golden", {self.canonical: table})
        leases = {at: store.lease(*at, topic_id) for at, _, _ in lines}
        store.write(leases, {self.canonical: changes}, {})
        progress = [
            Progress(leases[at], end, ledger_key(group, *at).decode(), line.decode()) for at, end, line in lines
        ]
        store.record_progress(progress)
        store.commit()
        store.rollback()

    def _change(self, table: GoldenTable, record: Record) -> RowChange:
        key, row = record.key or b"", None
        if record.value is not None:
            origin = binary.pack_origin(len(table.copied), 1, record.partition, record.offset, key)
            row = make_row_decoder(self._schema_by_id, table)(record.value, origin)
        return RowChange(key.decode(), 1, record.partition, record.offset, row)

    @staticmethod
    def line(start: int, end: int, visible: int, *, reset: bool = False, **versions: int) -> bytes:
        """A ledger line in which everything was mapped."""
        known = {"crm_person": 2, "erp_staff": 1, **versions}
        return ledger_line(start, end, Counter({"mapped": visible}), reset, known)

    def ends(self, topic: str) -> dict[int, int]:
        with LogReader(self.kafka) as reader:
            return {p: end for (_, p), end in reader.ends([(topic, p) for p in range(self.partitions)]).items()}

    def records(self, topic: str) -> list[Record]:
        """All of a topic, in order by partition."""
        with LogReader(self.kafka) as reader:
            firsts = reader.beginnings([(topic, p) for p in range(self.partitions)])
            spans = {(topic, p): (firsts[topic, p], end) for p, end in self.ends(topic).items()}
            return sorted((record_of(m) for m in reader.read(spans)), key=lambda record: record.partition)

    def sql(self, statement: str, *values: Any) -> None:
        """Change exactly one row in the sink's database, as a foreign process does."""
        with psycopg.connect(self.dsn) as connection:
            assert connection.execute(statement.encode(), values).rowcount == 1

    def produce(
        self, topic: str, key: bytes, value: bytes | None, headers: Headers, partition: int, timestamp_ms: int = 0
    ) -> Record:
        """Write a record and wait for its offset."""
        offsets: list[int] = []

        def report(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            offsets.append(int(message.offset() or 0))

        any_headers: Any = headers
        self._producer.produce(
            topic, value, key, partition, headers=any_headers, on_delivery=report, timestamp=timestamp_ms
        )
        assert self._producer.flush(within(30)) == 0
        return Record(topic, partition, offsets[0], key, value, dict(headers), int(time.time() * 1000))


def _key(number: str) -> str:
    return orjson.dumps({"id": number}).decode()
