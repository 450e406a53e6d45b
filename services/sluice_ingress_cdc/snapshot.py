"""The snapshot: publishes every row of some tables, exactly as of one LSN of the source.

A new slot exports a snapshot, which is read on a second connection. The snapshot contains the commits below the slot's
consistent point, and the stream sends the commits from that point on: no gap, no repetition. If the whole source is
read, the new slot is followed afterwards. If single tables of a followed slot are read, the new slot is temporary, and
the stream then leaves out the commits that the snapshots of these tables contain. The transaction of a table's last
rows also contains a sweep marker for every partition. The marker deletes the keys that are no longer in the table. A
table that cannot be read stays pending; the other tables are published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from psycopg import sql

from sluice.cdc.column_json import PgType
from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import TableEvents, TransactionInfo
from sluice.cdc.eligibility import eligibility_fault
from sluice.cdc.pgoutput import Row
from sluice.cdc.slots import CREATE_DEADLINE_S, CreatedSlot, create_slot
from sluice.cdc.source_errors import source_errors
from sluice.cdc.table_facts import TableBinding, TableFacts, binding_of, load_types, publication_facts, table_facts
from sluice.cdc.watermarks import Mark, SlotWatermark
from sluice.errors import EnvironmentFault, Transient
from sluice.headers import ORIGIN_HEADER, POSITION_HEADER
from sluice.position import Position
from sluice.raw.writing import RawRecord, sweep_markers
from sluice.times import now_us
from sluice_ingress_cdc.catalog_check import RawTopic
from sluice_ingress_cdc.publisher import OUTAGE_MAX_S
from sluice_ingress_cdc.records import (
    CONTENT_TYPE,
    ROW_TOO_LARGE,
    SlotTargets,
    TableTarget,
    has_dead_letter,
    records_of,
)
from sluice_ingress_cdc.session_context import SessionContext
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.tables import FollowedTables, TableChanges

FETCH_TIMEOUT_S = 3_600.0
# The longest time to create a temporary slot. Old open transactions of the source block its creation, and the stream of
# the other tables waits meanwhile.
TEMPORARY_DEADLINE_S = 10.0
_FIRST_FETCH_ROWS = 100
_FETCH_ROWS_MAX = 10_000

log = structlog.get_logger()


@dataclass
class SnapshotRun:
    """The state that the tables of one snapshot share. `topics`: the raw topics, by table. `watermark`: the durable
    watermark. `publish_attempted`: `watermark` may be outdated if the snapshot fails."""

    context: SessionContext
    targets: SlotTargets
    topics: Mapping[str, RawTopic]
    tables: FollowedTables
    watermark: SlotWatermark
    publish_attempted: bool = False

    @property
    def slot(self) -> SlotSettings:
        return self.context.slot

    def publish(self, records: Sequence[RawRecord], mark: Mark, tables: TableChanges) -> None:
        """Commit the records and a watermark at `mark`; waits while Kafka is down.

        Each watermark gets a later time than the watermark before, so that no two are equal. Raises Transient if
        another process published or Kafka is down too long, and FollowerStopped if the stage is to stop.
        """
        context, before = self.context, self.watermark
        stamped = before.at_mark(mark, max(now_us(), before.at + 1))
        self.publish_attempted = True
        context.continue_or_stop(OUTAGE_MAX_S)
        context.publisher.publish_or_wait(records, stamped, before, tables, lambda: context.continue_or_stop(0.0))
        self.watermark = stamped


def read_source(run: SnapshotRun, names: Sequence[str]) -> None:
    """Create the slot that is followed afterwards, and publish its snapshot of the tables `names`. A table that cannot
    be read stays pending, with a fault."""
    with _exported(run.slot, run.slot.slot, CREATE_DEADLINE_S, temporary=False) as (created, reader):
        _read(run, reader, names, created.consistent_point, Mark(created.consistent_point, 0))


def read_tables(run: SnapshotRun, names: Sequence[str]) -> None:
    """Publish a snapshot of the tables `names` while their slot is followed already. A table that cannot be read stays
    pending, with a fault."""
    name = f"{run.slot.slot[:55]}_tables"
    with _exported(run.slot, name, TEMPORARY_DEADLINE_S, temporary=True) as (created, reader):
        _read(run, reader, names, created.consistent_point, run.watermark.mark)


def _read(run: SnapshotRun, reader: Connection, names: Sequence[str], consistent_point: int, mark: Mark) -> None:
    where = run.slot.where
    transaction = TransactionInfo(_transaction_time_us(reader, where), None, None, snapshot="true")
    position = Position(run.watermark.epoch, consistent_point, 0)
    types = load_types(reader, where)
    # This watermark states that the slot exists, even if no table can be read.
    run.publish([], mark, {})
    for name in names:
        table = _TableSnapshot(run, reader, name, types, position, transaction, mark)
        try:
            with _savepoint(reader, table.where):
                table.read()
        except EnvironmentFault as fault:
            run.tables.cannot_read(name, fault)


@contextmanager
def _exported(
    slot: SlotSettings, name: str, deadline_s: float, *, temporary: bool
) -> Iterator[tuple[CreatedSlot, Connection]]:
    dsn, where = slot.dsn.reveal(), slot.where
    with connect(dsn, where, statement_timeout_s=FETCH_TIMEOUT_S) as reader:
        with connect(dsn, where, replication=True) as exporter:
            created = create_slot(exporter, name, where, temporary=temporary, deadline_s=deadline_s)
            with source_errors(where):
                reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(created.snapshot)))
        yield created, reader


@dataclass
class _TableSnapshot:
    """One table of a snapshot. `reader`: the connection whose open transaction sees the snapshot."""

    run: SnapshotRun
    reader: Connection
    name: str
    types: Mapping[int, PgType]
    position: Position
    transaction: TransactionInfo
    mark: Mark

    @property
    def where(self) -> str:
        return f"{self.run.slot.where}, table {self.name}"

    def read(self) -> None:
        """Publish the table. Raises EnvironmentFault if the table cannot be read or followed, and Transient if its
        definition changed while the snapshot started."""
        run = self.run
        facts, bound = self._bound()
        topic = run.topics[self.name]
        target = TableTarget(self.name, topic.name, topic.partitions, facts.primary_key)
        events = TableEvents(run.targets.source, facts.relation, facts.primary_key, self.types)
        origin = (ORIGIN_HEADER, b"%d" % (self.transaction.committed_us // 1_000))
        headers = [(POSITION_HEADER, str(self.position).encode()), origin, CONTENT_TYPE]
        records: list[RawRecord] = []
        size, too_large = 0, False
        for row in self._rows(facts):
            change = events.snapshot_row(row, self.transaction, self.position.major)
            made = records_of(change, target, headers, run.targets)
            records += made
            too_large = too_large or has_dead_letter(made)
            size += sum(record.size_bytes for record in made)
            if size >= run.context.settings.batch_bytes_max:
                run.publish(records, self.mark, {})
                records, size = [], 0
        for marker in sweep_markers(target.topic, target.stream, self.position, target.partitions):
            records.append(marker._replace(headers=[*marker.headers, origin]))
        run.tables.set_followed(self.name, self.position.major, bound)
        if too_large:
            run.tables.apply(self.name, ROW_TOO_LARGE)
        run.publish(records, self.mark, run.tables.take_changes())
        log.info("table read", source=run.slot.source, table=self.name, position=str(self.position))

    def _bound(self) -> tuple[TableFacts, TableBinding]:
        """The facts and the binding of the table as the snapshot shows it. Raises EnvironmentFault if the table cannot
        be followed, and Transient if the snapshot does not show it in the publication."""
        slot = self.run.slot
        publication = publication_facts(self.reader, slot.publication, self.where)
        facts = self._facts(self.reader)
        fault = eligibility_fault(facts, self.where)
        if fault is not None:
            raise fault
        if facts is None or facts.published is None or publication is None:
            raise Transient(f"{self.where}: it is not in publication {slot.publication} yet")
        return facts, binding_of(facts, publication, self.run.topics[self.name].topic_id)

    def _facts(self, connection: Connection) -> TableFacts | None:
        return table_facts(connection, self.run.slot.publication, [self.name], self.where).get(self.name)

    def _rows(self, facts: TableFacts) -> Iterator[Row]:
        """All rows of the table in key order, from a server-side cursor. One fetch reads about half a batch."""
        key = sql.SQL(", ").join(map(sql.Identifier, facts.primary_key))
        statement = sql.SQL("DECLARE sluice NO SCROLL CURSOR FOR {} ORDER BY {}").format(facts.select, key)
        context = self.run.context
        with source_errors(self.where):
            self.reader.execute(statement)
            self._require_unchanged(facts)
            count = _FIRST_FETCH_ROWS
            while True:
                context.continue_or_stop(FETCH_TIMEOUT_S)
                rows, size = _fetch(self.reader, count)
                context.continue_or_stop(0.0)
                yield from rows
                if len(rows) < count:
                    break
                fitting = int(context.settings.batch_bytes_max / 2 / (size / len(rows) + 1))
                count = max(1, min(fitting, _FETCH_ROWS_MAX, count * 10))
            self.reader.execute("CLOSE sluice")

    def _require_unchanged(self, facts: TableFacts) -> None:
        """Raise Transient if the table's definition changed after the snapshot was taken.

        An ALTER TABLE that rewrites the rows before the cursor locks the table makes the table look empty to the
        snapshot. The cursor has the lock now: the definition that a new connection reads cannot change any more.
        """
        with connect(self.run.slot.dsn.reveal(), self.where) as another:
            now = self._facts(another)
        if now is None or now._replace(xid=facts.xid) != facts:
            raise Transient(f"{self.where}: its definition changed while its snapshot started; it is read again")


@contextmanager
def _savepoint(reader: Connection, where: str) -> Iterator[None]:
    """Keep the snapshot's transaction usable for the other tables if the body of this context raises
    EnvironmentFault."""
    with source_errors(where):
        reader.execute("SAVEPOINT one_table")
    try:
        yield
    except EnvironmentFault:
        with source_errors(where):
            reader.execute("ROLLBACK TO SAVEPOINT one_table")
        raise
    with source_errors(where):
        reader.execute("RELEASE SAVEPOINT one_table")


def _fetch(reader: Connection, count: int) -> tuple[list[Row], int]:
    """Up to `count` rows as text values, and the size of all their values in bytes."""
    cursor = reader.execute(sql.SQL("FETCH FORWARD {} FROM sluice").format(sql.Literal(count)))
    result = cursor.pgresult
    if result is None:
        return [], 0
    columns = range(result.nfields)
    rows: list[Row] = [[result.get_value(i, j) for j in columns] for i in range(result.ntuples)]
    return rows, sum(len(v) for row in rows for v in row if isinstance(v, bytes))


def _transaction_time_us(reader: Connection, where: str) -> int:
    """When the rows of the snapshot were observed: its transaction's start by the source's clock, in µs since 1970."""
    query = "SELECT (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint"
    with source_errors(where):
        [(started_us,)] = reader.execute(query).fetchall()
    return int(str(started_us))
