"""What is known about one entity: its golden record in a sink or in its canonical topic, and the claims to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.entities import EntityContract
from sluice.errors import DeadRecord
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, connect_to_read
from sluice.kafka import LogReader, murmur2_partition
from sluice.pipeline import Pipeline
from sluice.provenance import Contribution
from sluice.schemas.decoder import Decode


class StoredGolden(NamedTuple):
    """A golden record as it is stored. `where`: its table or topic. `provenance`: the contents of `_sluice`."""

    where: str
    topic: str
    partition: int
    offset: int
    revision: int
    updated_at: int
    fields: Mapping[str, Any]
    provenance: Mapping[str, Any]


class Evidence(NamedTuple):
    """`claims`: the highest of each contribution key, retracted ones too."""

    entity_id: str
    golden: StoredGolden | None
    claims: list[Contribution]

    @property
    def known(self) -> bool:
        return self.golden is not None or bool(self.claims)


def gather(pipeline: Pipeline, contract: EntityContract, entity_id: str, reader: LogReader, decode: Decode) -> Evidence:
    """Read the row of an id (without a sink its canonical record) and its contributions.

    Blocks: reads one partition of contributions to its end. Raises EnvironmentFault or Transient.
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
    return StoredGolden(
        f"table {table.schema}.{table.name}",
        pipeline.names.canonical(contract.name),
        row.partition,
        row.offset,
        row.revision,
        row.updated_at,
        row.fields,
        row.provenance,
    )


def _canonical(topic: str, partition: int, entity_id: str, reader: LogReader, decode: Decode) -> StoredGolden | None:
    newest = None
    for message in reader.read(reader.spans([(topic, partition)])):
        if message.key() == entity_id.encode():
            newest = message
    value = None if newest is None else newest.value()
    if newest is None or value is None:
        return None
    decoded = decode(value)
    sluice, offset = decoded.sluice, int(newest.offset() or 0)
    return StoredGolden(
        f"topic {topic}", topic, partition, offset, sluice["revision"], sluice["updated_at"], decoded.fields, sluice
    )


def current_claims(topic: str, partition: int, entity_id: str, reader: LogReader) -> list[Contribution]:
    """The highest claim to `entity_id` of each key. What the merger parks is left out."""
    highest: dict[bytes, Contribution] = {}
    for message in reader.read(reader.spans([(topic, partition)])):
        key, value = message.key() or b"", message.value()
        if value is None:
            highest.pop(key, None)
            continue
        try:
            claim = Contribution.from_json(value)
        except DeadRecord:
            continue
        if claim.key != key or claim.entity_id != entity_id:
            continue
        if key not in highest or claim.claim_order >= highest[key].claim_order:
            highest[key] = claim
    return list(highest.values())
