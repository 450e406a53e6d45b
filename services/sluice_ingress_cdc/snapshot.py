"""The snapshot: every row of some tables, exactly as of one place in the source's log.

A new slot's exported snapshot is read on a second connection: what committed below its consistent point is in it, what
commits from there on comes through the stream: no gap, nothing twice. For a whole source that slot is the one that is
followed; for single tables of a slot that is followed already it is a temporary one, and the stream leaves out what
their snapshot holds. Each table ends with a sweep marker to every partition, in the transaction of its last rows: keys
that stood before are gone. A table that cannot be read waits alone; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from psycopg import sql

from sluice.cdc.column_json import PgType
from sluice.cdc.connection import Connection, connect
from sluice.cdc.debezium import Moment, TableEvents
from sluice.cdc.faults import source_errors
from sluice.cdc.pgoutput import Row
from sluice.cdc.publication import load_types
from sluice.cdc.slot_watermark import Mark, SlotWatermark
from sluice.cdc.slots import CREATE_DEADLINE_S, CreatedSlot, create_slot
from sluice.cdc.table_facts import Bound, TableFacts, bound_to, publication_facts, table_facts
from sluice.errors import EnvironmentFault, Transient
from sluice.headers import ORIGIN_HEADER, POSITION_HEADER
from sluice.position import Position
from sluice.raw.record import RawRecord, sweep_markers
from sluice.times import now_us
from sluice_ingress_cdc.assembler import CONTENT_TYPE, Followed, Target, is_parked, records_of
from sluice_ingress_cdc.fitness import unfit
from sluice_ingress_cdc.observation import RawTopic
from sluice_ingress_cdc.oversize import PARKED
from sluice_ingress_cdc.publisher import OUTAGE_MAX_S
from sluice_ingress_cdc.settings import SlotSettings
from sluice_ingress_cdc.tables import Marks, Tables

FETCH_TIMEOUT_S = 3_600.0
# Old open transactions of the source hold a temporary slot up; the other tables' stream rests meanwhile.
TEMPORARY_DEADLINE_S = 10.0
_FIRST_FETCH_ROWS = 100
_FETCH_ROWS_MAX = 10_000

PublishSurely = Callable[[Sequence[RawRecord], SlotWatermark, SlotWatermark, Marks], None]
"""Effect: records, the new watermark and what changed of the tables, durable together; the third argument is the
watermark that stands before."""

log = structlog.get_logger()


@dataclass
class Reading:
    """What the tables of a snapshot share. `followed`: what all records have in common; `topics` by table. `going_on`
    is called before each wait with its longest time in seconds; what it raises ends the snapshot. `stands`: the
    watermark that is durable, `began`: it may not be any more."""

    slot: SlotSettings
    followed: Followed
    topics: Mapping[str, RawTopic]
    tables: Tables
    publish_surely: PublishSurely
    batch_bytes_max: int
    going_on: Callable[[float], None]
    stands: SlotWatermark
    began: bool = False

    def publish(self, records: Sequence[RawRecord], mark: Mark, tables: Marks) -> None:
        """With a time of its own on each watermark, so that two of them never read alike."""
        stamped = self.stands.at_mark(mark, max(now_us(), self.stands.at + 1))
        self.began = True
        self.going_on(OUTAGE_MAX_S)
        self.publish_surely(records, stamped, self.stands, tables)
        self.stands = stamped


def read_source(reading: Reading, names: Sequence[str]) -> SlotWatermark:
    """Create the slot that is to be followed and publish its snapshot of the tables `names`; returns the watermark to
    stream from. Tables that cannot be read stay pending, with a fault."""
    with _exported(reading.slot, reading.slot.slot, CREATE_DEADLINE_S, temporary=False) as (created, reader):
        _read(reading, reader, names, created.consistent_point, Mark(created.consistent_point, 0))
    return reading.stands


def read_tables(reading: Reading, names: Sequence[str]) -> SlotWatermark:
    """Publish a snapshot of some tables of a slot that is followed already; returns the watermark that stands."""
    name = f"{reading.slot.slot[:55]}_tables"
    with _exported(reading.slot, name, TEMPORARY_DEADLINE_S, temporary=True) as (created, reader):
        _read(reading, reader, names, created.consistent_point, reading.stands.mark)
    return reading.stands


def _read(reading: Reading, reader: Connection, names: Sequence[str], consistent_point: int, mark: Mark) -> None:
    where = reading.slot.where
    moment = Moment(_transaction_time_us(reader, where), None, None, snapshot=True)
    position = Position(reading.stands.epoch, consistent_point, 0)
    types = load_types(reader, where)
    # The slot exists from here on, whatever becomes of its tables.
    reading.publish([], mark, {})
    for name in names:
        table = _Table(reading, reader, name, types, position, moment, mark)
        try:
            with _savepoint(reader, table.where):
                table.read()
        except EnvironmentFault as fault:
            reading.tables.waits(name, fault)


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
class _Table:
    """One table of a snapshot, read on `reader` within the snapshot's transaction."""

    reading: Reading
    reader: Connection
    name: str
    types: Mapping[int, PgType]
    position: Position
    moment: Moment
    mark: Mark

    @property
    def where(self) -> str:
        return f"{self.reading.slot.where}, table {self.name}"

    def read(self) -> None:
        """Publish the table. Raises EnvironmentFault where it cannot be read; Transient where its definition changed
        while the snapshot began."""
        reading = self.reading
        facts, bound = self._bound()
        topic = reading.topics[self.name]
        target = Target(self.name, topic.name, topic.partitions, facts.primary_key)
        events = TableEvents(reading.followed.source, facts.relation, facts.primary_key, self.types)
        origin = (ORIGIN_HEADER, b"%d" % (self.moment.committed_us // 1_000))
        headers = [(POSITION_HEADER, str(self.position).encode()), origin, CONTENT_TYPE]
        records: list[RawRecord] = []
        size, parked = 0, False
        for row in self._rows(facts):
            change = events.read(row, self.moment, self.position.major)
            made = records_of(change, target, headers, reading.followed)
            records += made
            parked = parked or is_parked(made)
            size += sum(record.size_bytes for record in made)
            if size >= reading.batch_bytes_max:
                reading.publish(records, self.mark, {})
                records, size = [], 0
        for marker in sweep_markers(target.topic, target.stream, self.position, target.partitions):
            records.append(marker._replace(headers=[*marker.headers, origin]))
        reading.tables.followed(self.name, self.position.major, bound)
        if parked:
            reading.tables.judged(self.name, PARKED)
        reading.publish(records, self.mark, reading.tables.take_changes())
        log.info("table read", source=reading.slot.source, table=self.name, position=str(self.position))

    def _bound(self) -> tuple[TableFacts, Bound]:
        """The table as the snapshot shows it. Raises EnvironmentFault for one that cannot be followed."""
        slot = self.reading.slot
        publication = publication_facts(self.reader, slot.publication, self.where)
        facts = self._facts(self.reader)
        if facts is None:
            raise EnvironmentFault(self.where, "it does not exist", "create it, or correct the pipeline file")
        wrong = unfit(facts, self.reader.info.server_version)
        if wrong is not None:
            raise EnvironmentFault(self.where, wrong.why, wrong.next_step)
        if publication is None or facts.published is None:
            raise Transient(f"{self.where}: it is not in publication {slot.publication} yet")
        return facts, bound_to(facts, publication, self.reading.topics[self.name].topic_id)

    def _facts(self, connection: Connection) -> TableFacts | None:
        return table_facts(connection, self.reading.slot.publication, [self.name], self.where).get(self.name)

    def _rows(self, facts: TableFacts) -> Iterator[Row]:
        """All rows in key order, by a cursor of the server's; a fetch is sized to about half a batch."""
        statement = sql.SQL("DECLARE sluice NO SCROLL CURSOR FOR SELECT {} FROM {}{} {} ORDER BY {}").format(
            sql.SQL(", ").join(sql.Identifier(c.name) for c in facts.relation.columns),
            sql.SQL("" if facts.partitioned else "ONLY "),
            facts.identifier,
            # The filter is SQL of the source's own catalog, as it prints it.
            sql.SQL(f"WHERE {facts.row_filter}" if facts.row_filter else ""),
            sql.SQL(", ").join(map(sql.Identifier, facts.primary_key)),
        )
        going_on, batch_bytes_max = self.reading.going_on, self.reading.batch_bytes_max
        with source_errors(self.where):
            self.reader.execute(statement)
            self._require_unchanged(facts)
            count = _FIRST_FETCH_ROWS
            while True:
                going_on(FETCH_TIMEOUT_S)
                rows, size = _fetch(self.reader, count)
                going_on(0.0)
                yield from rows
                if len(rows) < count:
                    break
                fitting = int(batch_bytes_max / 2 / (size / len(rows) + 1))
                count = max(1, min(fitting, _FETCH_ROWS_MAX, count * 10))
            self.reader.execute("CLOSE sluice")

    def _require_unchanged(self, facts: TableFacts) -> None:
        """An ALTER TABLE that rewrites rows, between the snapshot and our lock, makes the table look empty to it.

        The cursor holds the lock now: what another connection sees from here on stays.
        """
        with connect(self.reading.slot.dsn.reveal(), self.where) as another:
            now = self._facts(another)
        if now is None or now._replace(xid=facts.xid) != facts:
            raise Transient(f"{self.where}: its definition changed while its snapshot began; it is read again")


@contextmanager
def _savepoint(reader: Connection, where: str) -> Iterator[None]:
    """What fails within leaves the snapshot's transaction usable for the other tables."""
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
