"""Reads a table in chunks on a connection of its own. Decision record 0061 says why a chunk is read as it is here.

A chunk is a range of blocks of one heap. It has about as many rows as half a batch has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from psycopg import sql

from sluice.cdc.connection import Connection, query
from sluice.cdc.copying import copy_lines
from sluice.cdc.debezium import ChangeEvent, TableEvents, TransactionInfo
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableFacts
from sluice.cdc.watermarks import Heap, TableReading
from sluice.errors import EnvironmentFault, SluiceError
from sluice.headers import ORIGIN_HEADER
from sluice.raw.writing import RawRecord
from sluice_ingress_cdc.records import CONTENT_TYPE, TableTarget
from sluice_ingress_cdc.windows import SourceSnapshot, sees_all_before

BARRIER_FAULT_AFTER_S = 10.0
_BARRIER_CHECK_S = 0.05
_FIRST_CHUNK_BLOCKS = 64
_FIRST_BLOCK_BYTES = 65_536
_CHUNK_BLOCKS_MAX = 4_096
# A chunk is published in one Kafka transaction if it is not much larger than expected.
_SPLIT_BYTES_MIN = 1024 * 1024
_RECORD_OVERHEAD_BYTES = 160
# Only a scan of a range of blocks keeps the order of blocks; and nothing else may read a range without reading the
# whole table.
_SESSION = (
    b"SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off;"
    b" SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0; SET lock_timeout = '10s'"
)


class HeapMoved(SluiceError):
    """A heap has another file than the one whose blocks were read: its rows are at other places."""


class Part(NamedTuple):
    """Rows of one chunk. `wal_lsn`: the log's insert LSN when the snapshot was taken. `headers`: the headers that all
    records share; the position is added when they are published. `large`: rows that their topic does not take.
    `reading`: how far the table is read with this part; None if it is not the last part of its chunk."""

    snapshot: SourceSnapshot
    wal_lsn: int
    records: list[RawRecord]
    headers: list[tuple[str, bytes]]
    large: list[ChangeEvent]
    size_bytes: int
    reading: TableReading | None


@dataclass
class ChunkReader:
    """Reads one table. `part_bytes`: a chunk has about this many bytes, and a part of it at most about twice as many.
    `check`: called now and then; it raises an error if the reading is to end. `connection`: autocommit, used by this
    reader alone."""

    connection: Connection
    facts: TableFacts
    events: TableEvents
    target: TableTarget
    where: str
    part_bytes: int
    record_bytes_max: int
    check: Callable[[], None]
    _blocks: int = field(init=False)

    def __post_init__(self) -> None:
        # The records of a block have several times its size.
        self._blocks = max(1, min(self.part_bytes // _FIRST_BLOCK_BYTES, _FIRST_CHUNK_BLOCKS))

    def sizes(self) -> tuple[Heap, ...]:
        """The heaps of the table, with their sizes now. If this user may read a partition only through the table, the
        whole table is one heap."""
        oids = [leaf.oid for leaf in self.facts.leaves] if self.facts.partitioned else [self.facts.oid]
        found = query(self.connection, "heaps", self.where, oids=oids)
        if self.facts.partitioned and not all(row["readable"] for row in found):
            return (Heap(self.facts.oid, 0, 0),)
        return tuple(Heap(row["oid"], row["filenode"], row["blocks"]) for row in found if row["blocks"]) or (
            Heap(self.facts.oid, 0, 0),
        )

    def parts(self, reading: TableReading) -> Iterator[Part]:
        """The parts of all chunks from `reading` on. Raises HeapMoved if a heap has another file now, EnvironmentFault
        if the table may not be read, and Transient if the server does not answer."""
        with source_errors(self.where):
            self.connection.execute(_SESSION)
        while not reading.is_complete:
            heap = reading.heaps[reading.heap]
            end = min(reading.block + self._blocks, heap.blocks)
            following = reading._replace(block=end)
            if end == heap.blocks:
                following = reading._replace(heap=reading.heap + 1, block=0)
            with source_errors(self.where):
                for part in self._chunk(heap, reading.block, end, following):
                    yield part
                    if part.reading is not None:
                        reading = part.reading

    def _chunk(self, heap: Heap, start: int, end: int, following: TableReading) -> Iterator[Part]:
        """The parts of one chunk. The transaction has ended when the last part is yielded: the part may wait for the
        stream for hours, and the lock and the snapshot must not."""
        last = yield from self._in_transaction(heap, start, end, following)
        yield last

    def _in_transaction(self, heap: Heap, start: int, end: int, following: TableReading) -> Generator[Part, None, Part]:
        name = self._name(heap)
        try:
            # The lock comes first: the snapshot then sees every change of the definition and every TRUNCATE that ended.
            self.connection.execute(
                sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE").format(
                    name
                )
            )
            return (yield from self._locked_chunk(heap, name, start, end, following))
        finally:
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.UNKNOWN:
                self.connection.execute("ROLLBACK") if self._idle else self.connection.close()

    def _locked_chunk(
        self, heap: Heap, name: sql.Composable, start: int, end: int, following: TableReading
    ) -> Generator[Part, None, Part]:
        (taken,) = query(self.connection, "snapshot", self.where)
        if heap.blocks:
            now = query(self.connection, "heaps", self.where, oids=[heap.oid])
            if not now or now[0]["filenode"] != heap.filenode:
                raise HeapMoved
        snapshot, wal_lsn = SourceSnapshot.parse(taken["snapshot"]), taken["wal_lsn"]
        transaction = TransactionInfo(taken["at_us"], None, None, snapshot="true")
        origin = (ORIGIN_HEADER, b"%d" % (taken["at_us"] // 1_000))
        records, headers, large, size = self._new_part(origin)
        topic, limit = self.target.topic, self.record_bytes_max
        rows = total = 0
        for lines in copy_lines(self.connection, self._select(heap, name, start, end), self.where):
            self.check()
            rows += len(lines)
            for key, value in self.events.copied_rows(lines, transaction, wal_lsn):
                length = len(key) + len(value)
                if length > limit:
                    large.append(ChangeEvent(key, value))
                else:
                    records.append(RawRecord(topic, key, value, headers))
                size += length + _RECORD_OVERHEAD_BYTES
            if size >= max(2 * self.part_bytes, _SPLIT_BYTES_MIN):
                total += size
                yield Part(snapshot, wal_lsn, records, headers, large, size, None)
                records, headers, large, size = self._new_part(origin)
        total += size
        self._fit(end - start, total)
        following = following._replace(rows=following.rows + rows)
        return Part(snapshot, wal_lsn, records, headers, large, size, following)

    @staticmethod
    def _new_part(
        origin: tuple[str, bytes],
    ) -> tuple[list[RawRecord], list[tuple[str, bytes]], list[ChangeEvent], int]:
        return [], [origin, CONTENT_TYPE], [], 0

    def _fit(self, blocks: int, size: int) -> None:
        """Choose the size of the next chunk: about a part, and at most four times this one."""
        fitting = blocks * self.part_bytes // max(size, 1)
        self._blocks = max(1, min(fitting, 4 * self._blocks, _CHUNK_BLOCKS_MAX))

    @property
    def _idle(self) -> bool:
        return self.connection.info.transaction_status in (
            psycopg.pq.TransactionStatus.INTRANS,
            psycopg.pq.TransactionStatus.INERROR,
        )

    def _name(self, heap: Heap) -> sql.Composable:
        leaf = next((leaf for leaf in self.facts.leaves if leaf.oid == heap.oid), None)
        if leaf is not None:
            return sql.SQL("ONLY {}").format(leaf.identifier)
        if heap.oid != self.facts.oid:
            raise HeapMoved  # a partition was detached or dropped
        return self.facts.itself

    def _select(self, heap: Heap, name: sql.Composable, start: int, end: int) -> sql.Composed:
        conditions = [sql.SQL(f"({self.facts.row_filter})")] if self.facts.row_filter else []
        if heap.blocks:
            conditions.append(sql.SQL(f"ctid >= '({start},0)'::tid AND ctid < '({end},0)'::tid"))
        where = sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in self.events.relation.columns)
        return sql.SQL("SELECT {} FROM {} {}").format(columns, name, where)


def make_barrier(
    connection: Connection, where: str, check: Callable[[], None], on_wait: Callable[[EnvironmentFault], None]
) -> int:
    """Assign a transaction id and wait until every transaction before it has ended. Returns the log's insert LSN then.

    `on_wait`: called once if it takes long. `check`: called in each turn; it raises an error if the wait is to end.
    """
    barrier = int(query(connection, "barrier", where)[0]["xid"])
    started_at, is_reported = time.monotonic(), False
    while True:
        check()
        (taken,) = query(connection, "snapshot", where)
        snapshot = SourceSnapshot.parse(taken["snapshot"])
        if sees_all_before(snapshot, barrier):
            return int(taken["wal_lsn"])
        if not is_reported and time.monotonic() - started_at > BARRIER_FAULT_AFTER_S:
            is_reported = True
            on_wait(
                EnvironmentFault(
                    where,
                    f"it is read when the transactions that write now have ended; the oldest one is {snapshot.xmin}",
                    "end it, if it should not be open (pg_stat_activity shows it by backend_xid, or "
                    "pg_prepared_xacts by transaction); else wait",
                )
            )
        time.sleep(_BARRIER_CHECK_S)
