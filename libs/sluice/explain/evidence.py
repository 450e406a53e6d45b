"""Reads what is known about one entity: its golden record from a sink or from its canonical topic, and its claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import asdict

from sluice.entities import EntityContract
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, connect_to_read
from sluice.kafka import LogReader, murmur2_partition
from sluice.kafka.record import Record, read_records
from sluice.pipeline import Pipeline
from sluice.provenance import Contribution, RawRef
from sluice.schemas.decoder import Decode
from sluice.verify.entity_logs import ContributionLog, entity_of


class StoredGolden(NamedTuple):
    """A golden record as it is stored. `about`: its table or topic, the place of its canonical record, revision and
    time. `fields`: the value of each field. `provenance`: the contents of `_sluice`."""

    about: Mapping[str, Any]
    fields: Mapping[str, Any]
    provenance: Mapping[str, Any]


class Evidence(NamedTuple):
    """The stored data of one entity. `golden`: None if no golden record is stored. `claims`: the highest claim of each
    contribution key, retracted claims included."""

    entity_id: str
    golden: StoredGolden | None
    claims: list[Contribution]

    @property
    def known(self) -> bool:
        return self.golden is not None or bool(self.claims)


def gather(pipeline: Pipeline, contract: EntityContract, entity_id: str, reader: LogReader, decode: Decode) -> Evidence:
    """Read the golden record of an id from the first sink (without a sink, from canonical), and its contributions.

    Blocks: reads one partition of contributions to its end. Raises EnvironmentFault or Transient if Kafka, the registry
    or the sink cannot be read.
    """
    names = pipeline.names
    partition = murmur2_partition(entity_id.encode(), pipeline.partitions)
    golden = (
        _stored(pipeline, contract, entity_id)
        if pipeline.sinks
        else _canonical(names.canonical(contract.name), partition, entity_id, reader, decode)
    )
    claims = current_claims(names.contributions(contract.name), partition, entity_id, reader)
    return Evidence(entity_id, golden, claims)


def _stored(pipeline: Pipeline, contract: EntityContract, entity_id: str) -> StoredGolden | None:
    name, sink = next(iter(pipeline.sinks.items()))
    table = GoldenTable(sink.schema_, contract)
    with connect_to_read(sink.postgres.reveal(), f"sink {name}") as connection:
        row = GoldenReader(connection, table).row(entity_id)
    if row is None:
        return None
    place = asdict(RawRef(pipeline.names.canonical(contract.name), row.partition, row.offset))
    about = {"where": table.place, **place, "revision": row.revision, "updated_at": row.updated_at}
    return StoredGolden(about, row.fields, row.provenance)


def _canonical(topic: str, partition: int, entity_id: str, reader: LogReader, decode: Decode) -> StoredGolden | None:
    newest: Record | None = None
    for record in read_records(reader, reader.spans([(topic, partition)])):
        if record.key == entity_id.encode():
            newest = record
    if newest is None or newest.value is None:
        return None
    decoded = decode(newest.value)
    place, sluice = asdict(RawRef(topic, partition, newest.offset)), decoded.sluice
    about = {"where": f"topic {topic}", **place, "revision": sluice["revision"], "updated_at": sluice["updated_at"]}
    return StoredGolden(about, decoded.fields, sluice)


def current_claims(topic: str, partition: int, entity_id: str, reader: LogReader) -> list[Contribution]:
    """The highest claim of each contribution key of `entity_id`. Records that are no contributions are left out,
    because the merger parks them."""
    at, log = (topic, partition), ContributionLog()
    for record in read_records(reader, reader.spans([at])):
        if entity_of(record.key) == entity_id:
            log.add(record)
    return [one.claim for one in log.highest.values()]
