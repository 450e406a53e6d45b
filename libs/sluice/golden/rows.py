"""Reads golden rows for `sluice verify`, `explain` and `lag`; values are those of a contribution's JSON."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import sql

from sluice.canonical_json import canonical_bytes
from sluice.entities.field_types import FieldType
from sluice.golden.columns import GoldenTable, columns_of
from sluice.golden.connection import Connection, connect
from sluice.golden.faults import sink_errors
from sluice.golden.sql import statement
from sluice.times import to_us

# From this number on, ECMAScript (and therefore RFC 8785) writes numbers with an exponent.
_EXPONENT_FROM = 10**21
_ROWS_A_FETCH = 2_000
# A reader may read Kafka between two fetches. It locks no row for which a writer waits, so it may stay idle for long.
IDLE_IN_CURSOR_MAX_S = 600


class StoredRow(NamedTuple):
    """A row of a golden table. `updated_at` and the timestamps in `fields` are µs UTC."""

    entity_id: str
    fields: dict[str, Any]
    revision: int
    updated_at: int
    epoch: int
    partition: int
    offset: int
    provenance: dict[str, Any]


def connect_to_read(dsn: str, where: str) -> Connection:
    """Open a read-only connection that leaves no transaction open between two queries.

    Raises EnvironmentFault if the dsn is malformed or the server refuses the connection.
    """
    connection = connect(dsn, where, IDLE_IN_CURSOR_MAX_S)
    connection.autocommit = True
    connection.read_only = True
    return connection


class GoldenReader:
    """Reads one golden table over a connection of `connect_to_read`.

    The methods raise EnvironmentFault or Transient if a query fails; the errors quote no value of a row.
    """

    def __init__(self, connection: Connection, table: GoldenTable) -> None:
        self._connection = connection
        self._table = table
        self._where = table.place
        self._fields = [(name, kind, len(columns_of(name, kind))) for name, kind in table.contract.fields.items()]

    def rows(self, partitions: Sequence[int]) -> Iterator[StoredRow]:
        """All rows of `partitions`, fetched in slices."""
        query = self._rows(sql.SQL("_partition = ANY(%(partitions)s::integer[])"))
        connection = self._connection
        with sink_errors(self._where), connection.transaction(), connection.cursor("golden") as cursor:
            cursor.itersize = _ROWS_A_FETCH
            for row in cursor.execute(query, {"partitions": list(partitions)}):
                yield self._row(row)

    def row(self, entity_id: str) -> StoredRow | None:
        """The row of one entity; None if there is none."""
        found = self._all(self._rows(sql.SQL("entity_id = %(entity_id)s")), {"entity_id": entity_id})
        return self._row(found[0]) if found else None

    def strays(self, partitions: Sequence[int]) -> list[tuple[str, int, int]]:
        """(entity id, partition, offset) of each row whose partition is not in `partitions`, those of the topic."""
        query = statement("read_strays", table=self._table.identifier)
        return self._all(query, {"partitions": list(partitions)})

    def tombstones(self, partitions: Sequence[int]) -> dict[str, tuple[int, int]]:
        """(topic epoch, offset) of each deleted entity of `partitions`, by entity id."""
        query = statement("read_tombstones", tombstones=self._table.own("_tombstones"))
        found = self._all(query, {"entity": self._table.name, "partitions": list(partitions)})
        return {entity_id: (epoch, offset) for entity_id, epoch, offset in found}

    def epoch(self, topic: str) -> int | None:
        """The epoch under which rows from `topic` are written now; None before the first epoch."""
        query = statement("read_epoch", topics=self._table.own("_topics"))
        found: list[tuple[int | None]] = self._all(query, {"topic": topic})
        return found[0][0]

    def _rows(self, which: sql.SQL) -> sql.Composed:
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in self._table.field_columns)
        return statement("read_rows", table=self._table.identifier, columns=columns, which=which)

    def _all(self, query: sql.Composed, parameters: Mapping[str, Any]) -> list[Any]:
        with sink_errors(self._where):
            return self._connection.execute(query, parameters).fetchall()

    def _row(self, row: tuple[Any, ...]) -> StoredRow:
        fields, place = {}, 1
        for name, kind, width in self._fields:
            fields[name] = _json(kind, row[place : place + width])
            place += width
        revision, updated_at, epoch, partition, offset, provenance = row[place:]
        return StoredRow(row[0], fields, revision, to_us(updated_at), epoch, partition, offset, provenance)


def ledger_lines(connection: Connection, schema: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The key and the line of each entry of a sink's ledger, in order."""
    query = statement("read_ledger", ledger=sql.Identifier(schema, "_ledger"))
    with sink_errors(f"table {schema}._ledger"), connection.transaction(), connection.cursor("ledger") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(query)


class PartitionProgress(NamedTuple):
    """A sink's progress in a partition. `processed`: the next offset. `at_s`: when the last batch was written (Unix s).

    `paused_at_s`: when the owner stopped reading the partition (Unix s), 0 if the owner reads it.
    """

    topic: str
    partition: int
    topic_id: str
    processed: int
    at_s: float
    paused_at_s: float


def progress_of(connection: Connection, schema: str) -> list[PartitionProgress]:
    """The sink's progress in each partition that it has written.

    Raises EnvironmentFault or Transient if the query fails.
    """
    with sink_errors(f"table {schema}._owner"):
        found = connection.execute(statement("read_owners", owner=sql.Identifier(schema, "_owner"))).fetchall()
    return [PartitionProgress(*row) for row in found]


def _json(kind: FieldType, values: tuple[Any, ...]) -> Any:
    value = values[0]
    if kind.kind == "money":
        return None if value is None and values[1] is None else {"amount": _decimal(value), "currency": values[1]}
    return _one(kind, value)


def _one(kind: FieldType, value: Any) -> Any:
    if value is None:
        return None
    if kind.item is not None:
        return [_one(kind.item, item) for item in value]
    if kind.kind == "json":
        return canonical_bytes(_as_written(value)).decode()
    if kind.kind == "decimal":
        return _decimal(value)
    if kind.kind == "timestamp":
        return to_us(value)
    if kind.kind == "bytes":
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if kind.kind == "date" else value


def _as_written(value: Any) -> Any:
    """The value that the sink wrote to a jsonb column, from the `value` that was read.

    Postgres stores each number of jsonb as numeric, and returns a large float as an int. So each int of 10^21 or
    more, or -10^21 or less, becomes a float: canonical JSON writes such numbers with an exponent.
    """
    if isinstance(value, dict):
        return {name: _as_written(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [_as_written(inside) for inside in value]
    return float(value) if type(value) is int and abs(value) >= _EXPONENT_FROM else value


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
