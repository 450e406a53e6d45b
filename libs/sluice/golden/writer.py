"""Writes batches of canonical records to golden tables: the newest change of each entity, in key order, in one
transaction.

A guard in the statement keeps newer rows. A batch that Postgres refuses is halved, each half under a savepoint, until
the refused change is alone. Only this change is rejected.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from sluice.errors import DeadRecord, EnvironmentFault, Transient
from sluice.golden import binary
from sluice.golden.catalogue import DELETE, UPSERT, dropped_rows_fault
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.faults import translate
from sluice.golden.sql import statement
from sluice.postgres_errors import policy_of, raised_in

# About 256 KiB of rows. Larger writes are not faster.
_ROWS_A_WRITE = 256
_ORIGIN_COLUMNS = 4


class RowChange(NamedTuple):
    """The change that one canonical record makes. `epoch`: the epoch of the topic.

    `row`: the columns `GoldenTable.copied`, packed for a binary COPY (see `binary`); None deletes the entity.
    """

    entity_id: str
    epoch: int
    partition: int
    offset: int
    row: bytes | None

    @property
    def version(self) -> tuple[int, int]:
        """(epoch, offset), which the guard compares: the higher version is newer."""
        return self.epoch, self.offset


class Rejected(NamedTuple):
    """A change that Postgres refused for a reason that does not go away, with the error that parks the record."""

    change: RowChange
    error: DeadRecord


class Written(NamedTuple):
    """The result of a batch. `effective`: the number of changes that took effect, by partition.

    A change that is neither effective nor rejected was superseded: another change, a row or a tombstone was newer.
    """

    effective: Counter[int]
    rejected: list[Rejected]


class TableWriter:
    """Writes one entity's table over one connection. The caller starts and ends the transaction."""

    def __init__(self, connection: Connection, table: GoldenTable) -> None:
        self._connection = connection
        self._table = table
        self._where = table.place
        names = [sql.Identifier(column.name) for column in table.columns]
        self._incoming = sql.Identifier("pg_temp", f"sluice_in_{table.name}")
        self._deleted = sql.Identifier("pg_temp", f"sluice_del_{table.name}")
        parts: dict[str, sql.Composable] = {
            "table": table.identifier,
            "tombstones": table.own("_tombstones"),
            "entity": sql.Literal(table.name),
            "incoming": self._incoming,
            "deleted": self._deleted,
            "columns": sql.SQL(", ").join(names),
            "assignments": sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in names[1:]),
        }
        placed = map(sql.Identifier, ("topic_epoch", "partition", "offset", "entity_id"))
        copied = (sql.Identifier(column.name) for column in table.copied)

        def ready(name: str, **parts: sql.Composable) -> bytes:
            return statement(name, **parts).as_bytes(connection)

        self._upsert = ready("upsert", **parts)
        self._dropped_rows = ready("dropped_rows", **parts)
        self._misplaced = ready("misplaced", **parts)
        self._write_tombstones = ready("write_tombstones", **parts)
        self._delete = ready("delete", **parts)
        self._copy_rows = ready("copy_in", into=self._incoming, columns=sql.SQL(", ").join(copied))
        self._copy_deletes = ready("copy_in", into=self._deleted, columns=sql.SQL(", ").join(placed))
        self._filled: set[bytes] = set()  # the COPY commands that this transaction has used

    def prepare(self) -> None:
        """Create the temporary tables to which batches are copied. Called once per connection, when the golden table
        exists."""
        with self._connection.transaction():
            # LIKE is not used, because it would copy the columns that others added to the golden table.
            columns = [sql.Identifier(one.name) + sql.SQL(f" {one.sql_type}") for one in self._table.columns]
            joined = sql.SQL(", ").join(columns)
            self._connection.execute(statement("incoming_table", incoming=self._incoming, columns=joined))
            self._connection.execute(statement("deleted_table", deleted=self._deleted))

    def write_all(self, changes: Iterable[RowChange]) -> Written:
        """Write all changes or none, without savepoints, which are a third of the round trips of a small batch.

        Called once per transaction. Raises psycopg.Error if Postgres refuses a change: the caller rolls back, and calls
        `write` in a new transaction. Raises Transient if no change can be written now, for example because the table is
        locked: `write` would only wait as long again.
        """
        self._filled.clear()
        todo = newest(changes)
        try:
            return Written(self._write(todo), [])
        except psycopg.Error as error:
            if policy_of(error) is Transient:
                raise translate(error, f"{self._where}: writing {_named(todo)}") from None
            raise

    def write(self, changes: Iterable[RowChange]) -> Written:
        """Write the changes that Postgres accepts, each attempt under a savepoint. The result contains the others as
        rejected.

        Called once per transaction. Raises EnvironmentFault or Transient if Postgres refuses more than single changes;
        the caller then rolls back.
        """
        self._filled.clear()
        todo, result = list(changes), Written(Counter(), [])
        while todo:
            written = self._attempt(newest(todo))
            result = Written(result.effective + written.effective, result.rejected + written.rejected)
            # If the newest change of an entity is rejected, the next older change of the entity in the batch is
            # written.
            rejected = {one.change.entity_id: one.change.version for one in written.rejected}
            todo = [one for one in todo if one.entity_id in rejected and one.version < rejected[one.entity_id]]
        return result

    def _attempt(self, changes: Sequence[RowChange]) -> Written:
        """Write all of `changes`; if Postgres refuses a change, write both halves, until the refused change is alone.

        The refused change is rejected. If a foreign function refused it, the EnvironmentFault names it.
        """
        if not changes:
            return Written(Counter(), [])
        try:
            with self._connection.transaction():
                return Written(self._write(changes), [])
        except psycopg.Error as error:
            ours = translate(error, self._where)
            alone = len(changes) == 1
            if alone and isinstance(ours, DeadRecord):
                return Written(Counter(), [Rejected(changes[0], ours)])
            one_is_to_blame = isinstance(ours, DeadRecord) or (isinstance(ours, EnvironmentFault) and raised_in(error))
            if alone or not one_is_to_blame:
                raise translate(error, f"{self._where}: writing {_named(changes)}") from None
        # The two statements lock rows in the order of one. Another order could deadlock with a concurrent batch.
        ordered = sorted(changes, key=itemgetter(0))
        half = len(ordered) // 2
        first, second = self._attempt(ordered[:half]), self._attempt(ordered[half:])
        return Written(first.effective + second.effective, first.rejected + second.rejected)

    def _write(self, changes: Sequence[RowChange]) -> Counter[int]:
        effective: Counter[int] = Counter()
        rows = [change for change in changes if change.row is not None]
        if rows:
            effective.update(self._write_rows(rows))
        deletes = [change for change in changes if change.row is None]
        if deletes:
            effective.update(self._write_deletes(deletes))
        return effective

    def _write_rows(self, rows: Sequence[RowChange]) -> Mapping[int, int]:
        self._copy(self._incoming, self._copy_rows, [one.row for one in rows if one.row is not None])
        effective: dict[int, int] = dict(self._connection.execute(self._upsert).fetchall())
        if sum(effective.values()) < len(rows):
            self._refuse_misplaced()
            self._refuse_dropped(rows, self._connection.execute(self._dropped_rows).fetchone(), UPSERT)
        return effective

    def _write_deletes(self, deletes: Sequence[RowChange]) -> Mapping[int, int]:
        lines = [
            binary.pack_origin(_ORIGIN_COLUMNS, one.epoch, one.partition, one.offset, one.entity_id.encode())
            for one in deletes
        ]
        self._copy(self._deleted, self._copy_deletes, lines)
        effective: dict[int, int] = dict(self._connection.execute(self._write_tombstones).fetchall())
        self._refuse_dropped(deletes, self._connection.execute(self._delete).fetchone(), DELETE)
        return effective

    def _copy(self, into: sql.Identifier, command: bytes, rows: Sequence[bytes]) -> None:
        """Copy packed rows to a temporary table."""
        with self._connection.cursor() as cursor:
            if command in self._filled:  # it may contain another part of the batch: only a commit empties it
                cursor.execute(statement("truncate", into=into))
            self._filled.add(command)
            with cursor.copy(command) as copy:
                copy.write(binary.HEADER)
                for start in range(0, len(rows), _ROWS_A_WRITE):
                    copy.write(b"".join(rows[start : start + _ROWS_A_WRITE]))
                copy.write(binary.TRAILER)

    def _refuse_misplaced(self) -> None:
        found = self._connection.execute(self._misplaced).fetchone()
        if found is not None:
            raise EnvironmentFault(
                self._where,
                f"an entity of partition {found[0]} (offset {found[1]}) has a row from partition {found[2]} "
                f"(offset {found[3]}) of the same topic; one entity lives in one partition",
                "find the producer that partitions otherwise; then stop the sink, run "
                f"`sluice sink rebuild {self._table.name}` and start it",
            )

    def _refuse_dropped(self, changes: Sequence[RowChange], found: tuple[Any, ...] | None, events: int) -> None:
        """Raises EnvironmentFault for `found`: the first entity whose change Postgres accepted and did not write, and
        the number of such entities; None if there are none."""
        if found is None:
            return
        first = next(change for change in changes if change.entity_id == found[0])
        where = f"{self._where}: writing {_named([first])}"
        raise dropped_rows_fault(self._connection, self._table.identifier, where, events, found[1])


def newest(changes: Iterable[RowChange]) -> list[RowChange]:
    """The newest change of each entity. The others are left out, because one statement cannot change a row twice."""
    found: dict[str, RowChange] = {}
    for change in changes:
        other = found.get(change.entity_id)
        if other is None or other.version <= change.version:
            found[change.entity_id] = change
    return list(found.values())


def _named(changes: Sequence[RowChange]) -> str:
    first = changes[0]
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"the {'row' if first.row else 'delete'} of partition {first.partition}, offset {first.offset}{more}"
