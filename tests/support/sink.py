"""A golden store over the sample worker, and changes for it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg

from sluice.golden.columns import GoldenTable
from sluice.golden.lease import Lease
from sluice.golden.store import GoldenStore, Progress
from sluice.golden.writer import RowChange, Written
from support.canonical import FIELDS, record
from support.workers import Worker

TOPIC = "canonical.worker"
TABLE = GoldenTable("golden", Worker.contract())
CONTRIBUTORS = [one._asdict() for one in record().contributors]
WINNERS = [one._asdict() for one in record().winners]


def store(dsn: str, table: GoldenTable = TABLE) -> GoldenStore:
    return GoldenStore("warehouse", lambda: dsn, "golden", {TOPIC: table})


def upsert(entity_id: str, offset: int, *, partition: int = 0, epoch: int = 1, **fields: Any) -> RowChange:
    """A canonical record of `entity_id` at `offset`."""
    sluice = {
        "revision": offset,
        "updated_at": 1704067200000001,
        "contributors": CONTRIBUTORS,
        "winners": WINNERS,
    }
    row = TABLE.row(entity_id, {**FIELDS, "employee_number": entity_id, **fields}, sluice)
    return RowChange(entity_id, epoch, partition, offset, row)


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
