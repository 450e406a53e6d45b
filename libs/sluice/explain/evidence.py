"""What is known of one entity: its golden record as it stands in a sink or in canonical, and the claims to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.entities import EntityContract
from sluice.errors import DeadRecord
from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, connect_to_read
from sluice.kafka import LogReader, murmur2_partition
from sluice.kafka.log import Partition
from sluice.pipeline import Pipeline
from sluice.provenance import Contribution
from sluice.schemas.decoder import Decode


class StoredGolden(NamedTuple):
    """The golden record as it stands: `where` names its table or topic, `provenance` is `_sluice`'s."""

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
    """Read what is known of an id: its row (its canonical record where there is no sink), and its contributions.

    One partition of contributions is read to its end. Raises EnvironmentFault or Transient.
    """
    names = pipeline.names
    partition = murmur2_partition(entity_id.encode(), pipeline.partitions)
    golden = (
        _stored(pipeline, contract, entity_id)
        if pipeline.sinks
        else _canonical(names.canonical(contract.name), partition, entity_id, reader, decode)
    )
    return Evidence(
        entity_id, golden, standing_claims(names.contributions(contract.name), partition, entity_id, reader)
    )


def _stored(pipeline: Pipeline, contract: EntityContract, entity_id: str) -> StoredGolden | None:
    name, sink = next(iter(pipeline.sinks.items()))
    table = GoldenTable(sink.schema_, contract)
    with connect_to_read(sink.postgres.reveal(), f"sink {name}") as connection:
        row = GoldenReader(connection, table).row(entity_id)
    if row is None:
        return None
    where, topic = f"table {table.schema}.{table.name}", pipeline.names.canonical(contract.name)
    return StoredGolden(
        where, topic, row.partition, row.offset, row.revision, row.updated_at, row.fields, row.provenance
    )


def _canonical(topic: str, partition: int, entity_id: str, reader: LogReader, decode: Decode) -> StoredGolden | None:
    newest = None
    for message in reader.read(_whole(reader, topic, partition)):
        if message.key() == entity_id.encode():
            newest = message
    value = None if newest is None else newest.value()
    if newest is None or value is None:
        return None
    decoded = decode(value)
    sluice, offset = decoded.sluice, int(newest.offset() or 0)
    where = f"topic {topic}"
    return StoredGolden(
        where, topic, partition, offset, sluice["revision"], sluice["updated_at"], decoded.fields, sluice
    )


def standing_claims(topic: str, partition: int, entity_id: str, reader: LogReader) -> list[Contribution]:
    """The highest claim to `entity_id` of each key, without those that the merger parks."""
    held: dict[bytes, Contribution] = {}
    for message in reader.read(_whole(reader, topic, partition)):
        key, value = message.key() or b"", message.value()
        if value is None:
            held.pop(key, None)
            continue
        try:
            claim = Contribution.from_json(value)
        except DeadRecord:
            continue
        if claim.key != key:
            continue
        before = held.get(key)
        if claim.entity_id == entity_id and (before is None or claim.claim_order >= before.claim_order):
            held[key] = claim
    return list(held.values())


def _whole(reader: LogReader, topic: str, partition: int) -> dict[Partition, tuple[int, int]]:
    at = (topic, partition)
    return {at: (reader.beginnings([at])[at], reader.ends([at])[at])}
