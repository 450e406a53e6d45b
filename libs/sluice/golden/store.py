"""The golden store: one Postgres connection that takes leases of partitions and writes batches of canonical records.

A batch is `write`, `record_progress`, then `commit` or `rollback`; the caller puts what must be durable before the
commit in between. After anything that went wrong the connection is given up, and the next call makes a new one,
which also looks at the tables again: a sink waits for an operator's mending and goes on by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog
from psycopg import sql

from sluice.errors import Bug, EnvironmentFault, TopicFault
from sluice.golden import passes
from sluice.golden.catalogue import Existing, existing
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection, connect
from sluice.golden.faults import sink_errors
from sluice.golden.lease import Lease, lock, take_lease
from sluice.golden.sql import statement
from sluice.golden.tables import ensure
from sluice.golden.watch import Watch, changed_by_others
from sluice.golden.writer import Change, TableWriter, Written
from sluice.kafka.log import Partition

log = structlog.get_logger()


class Progress(NamedTuple):
    """A partition after a batch: the offset to commit, the ledger's key and line (JSON); `paused_at`: when the owner
    stopped reading it (Unix s), 0 if it did not."""

    lease: Lease
    processed: int
    ledger_key: str
    ledger_line: str
    paused_at: float = 0.0


class GoldenStore:
    """`tables` by canonical topic, all in `schema`. `dsn` is asked for at each connection: secrets change."""

    def __init__(self, name: str, dsn: Callable[[], str], schema: str, tables: Mapping[str, GoldenTable]) -> None:
        self._where = f"sink {name}"
        self._dsn = dsn
        self._schema = schema
        self._tables = tables
        self._connection: Connection | None = None
        self._writers: dict[str, TableWriter] = {}
        self._there = Existing({}, {})
        self._held_back: Mapping[str, EnvironmentFault] = {}
        self._watched = True

    def lease(self, topic: str, partition: int, topic_id: str) -> Lease:
        """Become the owner of a partition. Raises EnvironmentFault (unknown topic id, server down, …), Transient."""
        with self._or_anew(f"leasing {topic}/{partition}") as connection, self._about(topic):
            return take_lease(connection, self._tables[topic], topic, partition, topic_id)

    def begin_pass(self, lease: Lease, first: int, end: int) -> Lease:
        """Note that the partition is read anew from its first offset `first` to `end`."""
        with self._or_anew(f"{lease.topic}/{lease.partition}") as connection:
            return passes.begin(connection, self._schema, lease, first, end)

    def give_up_pass(self, lease: Lease) -> Lease:
        """The pass skipped something: nothing will be deleted at its end."""
        with self._or_anew(f"{lease.topic}/{lease.partition}") as connection:
            return passes.give_up(connection, self._schema, lease)

    def write(
        self,
        leases: Mapping[Partition, Lease],
        changes: Mapping[str, Sequence[Change]],
        met: Mapping[str, Sequence[tuple[int, str]]],
    ) -> dict[str, Written]:
        """Begin a batch and write `changes` by topic; returns what became of them.

        `met`: (partition, entity id) by topic of what a pass came by. Raises OwnerChanged, EnvironmentFault, Transient.
        """
        connection = self._open()
        with sink_errors(self._where):
            lock(connection, self._schema, leases.values())
            for topic, ids in met.items():
                passes.met(connection, self._tables[topic], ids)
            return {topic: self._write(topic, batch) for topic, batch in changes.items()}

    def _write(self, topic: str, changes: Sequence[Change]) -> Written:
        with self._about(topic):
            return self._writers[topic].write(changes)

    @contextmanager
    def _about(self, topic: str) -> Iterator[None]:
        """What fails within, or is known to be wrong, holds this topic alone."""
        try:
            if topic in self._held_back:
                raise self._held_back[topic]
            yield
        except EnvironmentFault as fault:
            raise TopicFault(fault, topic) from None

    def look(self) -> dict[str, EnvironmentFault | None]:
        """What is wrong with each table, whether anything is written to it or not; by topic.

        Raises EnvironmentFault where the server cannot be asked, Transient.
        """
        with self._or_anew("looking at its tables") as connection, connection.transaction():
            now = existing(connection, self._schema)
        # Tables alone: two sinks of other contracts, as during a deploy, would make each other's views anew for ever.
        changed = any(now.tables.get(one.name) != self._there.tables.get(one.name) for one in self._tables.values())
        if changed or self._held_back:
            self.rollback()
        told: dict[str, str] = {}
        with self._or_anew("looking at its tables") as connection:
            if self._watched:
                with connection.transaction():
                    told = Watch(connection, self._schema).told()
        found: dict[str, EnvironmentFault | None] = {}
        for topic, table in self._tables.items():
            by_others = changed_by_others(table, told[table.name]) if table.name in told else None
            found[topic] = self._held_back.get(topic) or by_others
        return found

    def record_progress(self, progress: Iterable[Progress]) -> list[Lease]:
        """How far each partition is, its ledger line, and the end of its pass. Returns the leases whose pass ended."""
        connection = self._held()
        ended = []
        owner, ledger = sql.Identifier(self._schema, "_owner"), sql.Identifier(self._schema, "_ledger")
        with sink_errors(self._where):
            for lease, processed, key, line, paused_at in progress:
                reached = {"topic_id": lease.topic_id, "processed": processed, "paused_at": paused_at}
                connection.execute(
                    statement("processed", owner=owner), {"topic": lease.topic, "partition": lease.partition, **reached}
                )
                connection.execute(statement("ledger_line", ledger=ledger), {"key": key, "line": line})
                if lease.pass_end is not None and processed >= lease.pass_end:
                    with self._about(lease.topic), sink_errors(self._where):
                        passes.finish(connection, self._tables[lease.topic], lease)
                    ended.append(lease)
        return ended

    def commit(self) -> None:
        """Make the batch durable. Raises Transient where the answer was lost: the batch may stand, and is guarded."""
        with sink_errors(f"{self._where}: commit"):
            self._held().commit()

    def rollback(self) -> None:
        """Give the batch up, and the connection with it: whatever ails it does not ail the next one."""
        connection, self._connection = self._connection, None
        self._writers = {}
        if connection is not None:
            connection.close()

    @contextmanager
    def _or_anew(self, doing: str) -> Iterator[Connection]:
        """A connection for something outside of a batch; what fails takes the connection with it."""
        connection = self._open()
        try:
            with sink_errors(f"{self._where}: {doing}"):
                yield connection
        except BaseException:
            self.rollback()
            raise

    def _held(self) -> Connection:
        if self._connection is None:
            raise Bug("a batch goes on that was not begun")
        return self._connection

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = connect(self._dsn(), self._where)
        try:
            ensured = ensure(connection, self._schema, self._tables)
            self._there, self._held_back = ensured.there, ensured.held
            self._tell_unwatched(ensured.unwatched)
            self._writers = {
                topic: TableWriter(connection, table)
                for topic, table in self._tables.items()
                if topic not in self._held_back
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

    def _tell_unwatched(self, why: str | None) -> None:
        """A notice, once: rows are written as well without a watch."""
        if why is not None and self._watched:
            log.warning(
                "golden tables are not watched",
                sink=self._where,
                why=f"Postgres says: {why}. What others write to golden tables is not noticed",
                next="make the sink's user the owner of its tables, with CREATE on the schema, and start it again",
            )
        self._watched = why is None
