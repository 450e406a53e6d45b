"""A golden store over the sample worker, and changes for it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg

from sluice.golden import binary
from sluice.golden.columns import GoldenTable
from sluice.golden.lease import Lease
from sluice.golden.store import GoldenStore, Progress
from sluice.golden.writer import RowChange, Written
from sluice.provenance import CanonicalRecord
from sluice.schemas import avro_schema, make_encoder
from sluice_sink_postgres.row_decoder import make_row_decoder
from support.canonical import record
from support.workers import Worker

TOPIC = "canonical.worker"
TABLE = GoldenTable("golden", Worker.contract())


def store(dsn: str, table: GoldenTable = TABLE) -> GoldenStore:
    return GoldenStore("warehouse", lambda: dsn, "golden", {TOPIC: table})


def packed(
    table: GoldenTable, entity_id: str, content: CanonicalRecord, *, offset: int = 1, partition: int = 0, epoch: int = 1
) -> RowChange:
    """The change that a canonical record at `offset` makes."""
    schema = avro_schema(table.contract, "workforce")
    value = make_encoder(table.contract, 1)(content)
    origin = binary.pack_origin(len(table.copied), epoch, partition, offset, entity_id.encode())
    row = make_row_decoder(lambda schema_id: schema, table)(value, origin)
    return RowChange(entity_id, epoch, partition, offset, row)


def upsert(entity_id: str, offset: int, *, partition: int = 0, epoch: int = 1, **fields: Any) -> RowChange:
    """A canonical record of `entity_id` at `offset`."""
    content = record(revision=offset, **{"employee_number": entity_id, **fields})
    return packed(TABLE, entity_id, content, offset=offset, partition=partition, epoch=epoch)


def tombstone(entity_id: str, offset: int, *, partition: int = 0, epoch: int = 1) -> RowChange:
    return RowChange(entity_id, epoch, partition, offset, None)


def write(
    to: GoldenStore, lease: Lease, changes: Sequence[RowChange], read_ids: Sequence[tuple[int, str]] = ()
) -> Written:
    """One batch of one partition, committed; the next offset of the partition follows the last change."""
    at = (lease.topic, lease.partition)
    written = to.write({at: lease}, {TOPIC: changes}, {TOPIC: read_ids})
    processed = max((one.offset for one in changes), default=-1) + 1
    to.record_progress([Progress(lease, processed, "sink/canonical.worker/0", '{"v": 1}')])
    to.commit()
    return written.get(TOPIC, Written(Counter(), []))


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on a connection of its own."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def names(dsn: str) -> dict[str, str]:
    """Full name by entity id."""
    return dict(rows(dsn, "SELECT entity_id, full_name FROM golden.worker"))
