"""The golden store: one Postgres connection that takes leases of partitions and writes batches of canonical records.

A batch is `write`, `record_progress`, then `commit` or `rollback`. Before `commit`, the caller makes durable what must
be durable before the batch, such as dead letters. An error closes the connection. The next call opens a new connection
and checks the tables again: a sink waits until an operator fixes them, and resumes by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
import structlog
from psycopg import sql

from sluice.errors import Bug, EnvironmentFault, TopicFault, Transient
from sluice.golden import passes
from sluice.golden.catalogue import SchemaState, read_schema
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection, connect
from sluice.golden.faults import sink_errors
from sluice.golden.lease import Lease, lock, take_lease
from sluice.golden.sql import statement
from sluice.golden.tables import ensure
from sluice.golden.watch import Watch, foreign_write_fault
from sluice.golden.writer import RowChange, TableWriter, Written
from sluice.kafka.log import Partition
from sluice.postgres_errors import policy_of

log = structlog.get_logger()


class Progress(NamedTuple):
    """The progress in a leased partition after a batch. `processed`: the next offset. `ledger_line` is JSON.

    `paused_at`: when the owner stopped reading the partition (Unix s), 0 if the owner reads it.
    """

    lease: Lease
    processed: int
    ledger_key: str
    ledger_line: str
    paused_at: float = 0.0


class GoldenStore:
    """`tables`: by canonical topic, all in `schema`. `dsn` is called for each new connection, because secrets
    change."""

    def __init__(self, name: str, dsn: Callable[[], str], schema: str, tables: Mapping[str, GoldenTable]) -> None:
        self._where = f"sink {name}"
        self._dsn = dsn
        self._schema = schema
        self._tables = tables
        self._connection: Connection | None = None
        self._writers: dict[str, TableWriter] = {}
        self._state = SchemaState({}, {})
        self._faults: Mapping[str, EnvironmentFault] = {}
        self._watched = True

    def lease(self, topic: str, partition: int, topic_id: str) -> Lease:
        """Become the owner of a partition. Raises Transient, or EnvironmentFault if the topic id is unknown or the
        server is down."""
        with self._connected(f"leasing {topic}/{partition}") as connection, self._about(topic):
            return take_lease(connection, self._tables[topic], topic, partition, topic_id)

    def set_pass(self, lease: Lease, first: int | None, end: int | None) -> Lease:
        """Store that a pass over the partition runs from `first` to `end`; None: no pass, so no row will be deleted."""
        with self._connected(f"{lease.topic}/{lease.partition}") as connection, connection.transaction():
            return passes.set_pass(connection, self._tables[lease.topic], lease, first, end)

    def write(
        self,
        leases: Mapping[Partition, Lease],
        changes: Mapping[str, Sequence[RowChange]],
        read_ids: Mapping[str, Sequence[tuple[int, str]]],
    ) -> dict[str, Written]:
        """Start a batch and write its `changes` (by topic). Returns the result of each topic.

        `read_ids`: by topic, the (partition, entity id) pairs of records that a pass read. Raises OwnerChanged if
        another process took one of `leases`; EnvironmentFault or Transient if Postgres fails.
        """
        connection = self._open()
        with sink_errors(self._where):

            def attempt(*, savepoints: bool) -> dict[str, Written]:
                lock(connection, self._schema, leases.values())
                for topic, ids in read_ids.items():
                    passes.note_read(connection, self._tables[topic], ids)
                return {topic: self._write(topic, batch, savepoints) for topic, batch in changes.items()}

            try:
                return attempt(savepoints=False)
            except psycopg.Error as error:
                if connection.closed or policy_of(error) is Transient:
                    raise
                connection.rollback()
                return attempt(savepoints=True)  # finds the changes that Postgres refuses, or raises the right error

    def _write(self, topic: str, changes: Sequence[RowChange], savepoints: bool) -> Written:
        with self._about(topic):
            writer = self._writers[topic]
            return writer.write(changes) if savepoints else writer.write_all(changes)

    @contextmanager
    def _about(self, topic: str) -> Iterator[None]:
        """Turn an EnvironmentFault of the block into a fault of `topic` alone. Raise the known fault of its table
        first."""
        try:
            if topic in self._faults:
                raise self._faults[topic]
            yield
        except EnvironmentFault as fault:
            raise TopicFault(fault, topic) from None

    def check(self) -> dict[str, EnvironmentFault | None]:
        """The fault of each table by topic, None for a table without a fault. Tables without new rows are checked as
        well.

        Raises EnvironmentFault if the server cannot be reached, and Transient.
        """
        with self._connected("checking its tables") as connection, connection.transaction():
            now = read_schema(connection, self._schema)
        # Views are not compared: during a deploy, two sinks with different contracts would re-create each other's
        # views.
        changed = any(now.tables.get(one.name) != self._state.tables.get(one.name) for one in self._tables.values())
        if changed or self._faults:
            self.rollback()
        writes: dict[str, str] = {}
        with self._connected("checking its tables") as connection:
            if self._watched:
                with connection.transaction():
                    writes = Watch(connection, self._schema).foreign_writes()
        found: dict[str, EnvironmentFault | None] = {}
        for topic, table in self._tables.items():
            foreign = foreign_write_fault(table, writes[table.name]) if table.name in writes else None
            found[topic] = self._faults.get(topic) or foreign
        return found

    def record_progress(self, progress: Iterable[Progress]) -> list[Lease]:
        """Write the next offset and the ledger line of each partition. Returns the leases whose pass ended."""
        connection, written = self._batch_connection(), list(progress)
        ended = [one.lease for one in written if one.lease.pass_end is not None and one.processed >= one.lease.pass_end]
        owner, ledger = sql.Identifier(self._schema, "_owner"), sql.Identifier(self._schema, "_ledger")
        rows = {
            "topics": [one.lease.topic for one in written],
            "partitions": [one.lease.partition for one in written],
            "topic_ids": [one.lease.topic_id for one in written],
            "processed": [one.processed for one in written],
            "paused_at": [one.paused_at for one in written],
            "keys": [one.ledger_key for one in written],
            "lines": [one.ledger_line for one in written],
        }
        with sink_errors(self._where):
            connection.execute(statement("record_progress", owner=owner, ledger=ledger), rows)
            for lease in ended:
                with self._about(lease.topic), sink_errors(self._where):
                    passes.finish(connection, self._tables[lease.topic], lease)
        return ended

    def commit(self) -> None:
        """Make the batch durable. Raises Transient if the server's answer is lost: the batch may be durable then.

        The offset guard makes it safe to write the batch again.
        """
        with sink_errors(f"{self._where}: commit"):
            self._batch_connection().commit()

    def rollback(self) -> None:
        """Give up the batch and close the connection, so that a fault of this connection does not affect the next
        batch."""
        connection, self._connection = self._connection, None
        self._writers = {}
        if connection is not None:
            connection.close()

    @contextmanager
    def _connected(self, doing: str) -> Iterator[Connection]:
        """The connection, for work that is no part of a batch. An error in the block closes the connection."""
        connection = self._open()
        try:
            with sink_errors(f"{self._where}: {doing}"):
                yield connection
        except BaseException:
            self.rollback()
            raise

    def _batch_connection(self) -> Connection:
        if self._connection is None:
            raise Bug("the batch was not started")
        return self._connection

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = connect(self._dsn(), self._where)
        try:
            self._state, self._faults, unwatched = ensure(connection, self._schema, self._tables)
            self._report_unwatched(unwatched)
            self._writers = {
                topic: TableWriter(connection, table)
                for topic, table in self._tables.items()
                if topic not in self._faults
            }
            with sink_errors(self._where):
                for writer in self._writers.values():
                    writer.prepare()
                with connection.transaction():
                    connection.execute(
                        statement(
                            "prune",
                            tombstones=sql.Identifier(self._schema, "_tombstones"),
                            ledger=sql.Identifier(self._schema, "_ledger"),
                        )
                    )
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _report_unwatched(self, reason: str | None) -> None:
        """Log once that the tables are not watched. This is no fault, because rows are written without a watch as
        well."""
        if reason is not None and self._watched:
            log.warning(
                "golden tables are not watched",
                sink=self._where,
                why=f"Postgres says: {reason}. Writes by others to golden tables are not noticed",
                next="make the sink's user the owner of its tables, with CREATE on the schema, and start it again",
            )
        self._watched = reason is None
