"""The snapshot: every row of every followed table, exactly as of the place where the slot begins.

The slot's own exported snapshot is read on a second connection, so that what committed below the consistent point is
in it and what committed from there on comes through the slot: no gap, nothing twice. Each table ends with a sweep
marker to every partition, in the transaction of its last rows: keys that older epochs left behind are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from psycopg import sql

from sluice.position import HEADER as POSITION_HEADER
from sluice.position import Position
from sluice.postgres.debezium import Moment, TableEvents
from sluice.postgres.pgoutput import Row
from sluice.postgres.slot_watermark import DONE, Mark, SlotWatermark
from sluice.postgres.slots import CreatedSlot, create_slot
from sluice.postgres.source_connection import Connection, connect
from sluice.postgres.source_faults import source_errors
from sluice.postgres.source_tables import Published, SourceTable, load_types, published, relation_of
from sluice.stage.raw import ORIGIN_HEADER, RawRecord, sweep_markers
from sluice_ingress_cdc.assembler import CONTENT_TYPE, Followed, Target, records_of
from sluice_ingress_cdc.publisher import OUTAGE_MAX_S
from sluice_ingress_cdc.settings import SlotSettings

FETCH_TIMEOUT_S = 3_600.0
_FIRST_FETCH_ROWS = 100
_FETCH_ROWS_MAX = 10_000

PublishSurely = Callable[[Sequence[RawRecord], SlotWatermark, SlotWatermark], None]
"""Effect: records and the new watermark, durable together; the last argument is the watermark that stands before."""


class Snapshot:
    """Reads the tables in chunks and publishes them, each batch with the watermark that it makes true.

    `going_on` is called before each wait with its longest time in seconds; what it raises ends the snapshot.
    """

    def __init__(
        self,
        slot: SlotSettings,
        followed: Followed,
        publish: PublishSurely,
        batch_bytes_max: int,
        going_on: Callable[[float], None],
    ) -> None:
        self._slot = slot
        self._followed = followed
        self._publish_surely = publish
        self._batch_bytes_max = batch_bytes_max
        self._going_on = going_on
        self._stands: SlotWatermark

    def take(self, watermark: SlotWatermark, tables: Sequence[SourceTable]) -> SlotWatermark:
        """Create the slot, publish its snapshot under the watermark's epoch; returns the watermark to stream from."""
        with self._exported() as (created, reader):
            began_us = _transaction_time_us(reader, self._slot.where)
            self._stands = watermark
            watermark = watermark.at_mark(Mark(created.consistent_point, 0), began_us)
            types = load_types(reader, self._slot.where)
            through = published(reader, self._slot.publication, self._slot.where)
            moment = Moment(began_us, None, None, snapshot=True)
            for table in tables:
                relation = relation_of(reader, table, through[table.name].columns, self._slot.where)
                target = self._followed.targets[table.schema, table.table]
                events = TableEvents(self._followed.source, relation, target.key_columns, types)
                rows = self._rows(reader, table, [c.name for c in relation.columns], through[table.name])
                watermark = self._table(events, rows, target, moment, watermark)
        return watermark

    @contextmanager
    def _exported(self) -> Iterator[tuple[CreatedSlot, Connection]]:
        dsn, where = self._slot.dsn.reveal(), self._slot.where
        with connect(dsn, where, statement_timeout_s=FETCH_TIMEOUT_S) as reader:
            with connect(dsn, where, replication=True) as exporter:
                created = create_slot(exporter, self._slot.slot, where)
                with source_errors(where):
                    reader.execute("SET idle_in_transaction_session_timeout = 0")
                    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(created.snapshot)))
            yield created, reader

    def _table(
        self, events: TableEvents, rows: Iterator[Row], target: Target, moment: Moment, watermark: SlotWatermark
    ) -> SlotWatermark:
        position = Position(watermark.epoch, watermark.lsn, 0)
        origin = (ORIGIN_HEADER, b"%d" % (moment.committed_us // 1_000))
        headers = [(POSITION_HEADER, str(position).encode()), origin, CONTENT_TYPE]
        records: list[RawRecord] = []
        size = 0
        for row in rows:
            made = records_of(events.read(row, moment, watermark.lsn), target, headers, self._followed)
            records += made
            size += sum(record.size_bytes for record in made)
            if size >= self._batch_bytes_max:
                self._publish(records, watermark)
                records, size = [], 0
        for marker in sweep_markers(target.topic, target.stream, position, target.partitions):
            records.append(marker._replace(headers=[*marker.headers, origin]))
        done = {**watermark.snapshot, target.stream: DONE}
        return self._publish(records, replace(watermark, snapshot=done))

    def _publish(self, records: Sequence[RawRecord], watermark: SlotWatermark) -> SlotWatermark:
        """With a time of its own on each watermark, so that two of them never read alike."""
        stamped = replace(watermark, at=max(time.time_ns() // 1_000, self._stands.at + 1))
        self._going_on(OUTAGE_MAX_S)
        self._publish_surely(records, stamped, self._stands)
        self._stands = stamped
        return stamped

    def _rows(
        self, reader: Connection, table: SourceTable, columns: Sequence[str], through: Published
    ) -> Iterator[Row]:
        """All rows in key order, by a cursor of the server's; a fetch is sized to about half a batch."""
        statement = sql.SQL("DECLARE sluice NO SCROLL CURSOR FOR SELECT {} FROM {}{} {} ORDER BY {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL("" if table.partitioned else "ONLY "),
            table.identifier,
            # The filter is SQL of the source's own catalog, as it prints it.
            sql.SQL(f"WHERE {through.row_filter}" if through.row_filter else ""),
            sql.SQL(", ").join(map(sql.Identifier, table.primary_key)),
        )
        with source_errors(f"{self._slot.where}, table {table.name}"):
            reader.execute(statement)
            count = _FIRST_FETCH_ROWS
            while True:
                self._going_on(FETCH_TIMEOUT_S)
                rows, size = _fetch(reader, count)
                self._going_on(0.0)
                yield from rows
                if len(rows) < count:
                    break
                fitting = int(self._batch_bytes_max / 2 / (size / len(rows) + 1))
                count = max(1, min(fitting, _FETCH_ROWS_MAX, count * 10))
            reader.execute("CLOSE sluice")


def _fetch(reader: Connection, count: int) -> tuple[list[Row], int]:
    """Up to `count` rows as text values, and their size in bytes."""
    cursor = reader.execute(sql.SQL("FETCH FORWARD {} FROM sluice").format(sql.Literal(count)))
    result = cursor.pgresult
    if result is None:
        return [], 0
    columns = range(result.nfields)
    rows: list[Row] = [[result.get_value(i, j) for j in columns] for i in range(result.ntuples)]
    return rows, sum(len(v) for row in rows for v in row if isinstance(v, bytes))


def _transaction_time_us(reader: Connection, where: str) -> int:
    """The source's clock at the snapshot: when its rows were observed."""
    query = "SELECT (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint"
    with source_errors(where):
        [(now_us,)] = reader.execute(query).fetchall()
    return int(str(now_us))
