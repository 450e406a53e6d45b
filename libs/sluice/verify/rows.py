"""Golden rows as they stand in Postgres, and whether each is its newest canonical record."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Literal, NamedTuple

from psycopg import sql

from sluice.entities.field_types import FieldType
from sluice.postgres.golden_columns import GoldenTable, columns_of
from sluice.postgres.sink_connection import Connection
from sluice.postgres.sink_faults import sink_errors
from sluice.schemas.decoder import DecodedCanonical

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROWS_A_FETCH = 2_000


class GoldenRow(NamedTuple):
    """A row, its values as a contribution's JSON would have them."""

    entity_id: str
    fields: dict[str, Any]
    revision: int
    updated_at: int
    epoch: int
    partition: int
    offset: int
    provenance: dict[str, Any]


class GoldenReader:
    """Reads one entity's table over an autocommit connection: between two questions no transaction may idle.

    Raises EnvironmentFault or Transient, never with a value in it.
    """

    def __init__(self, connection: Connection, table: GoldenTable) -> None:
        self._connection = connection
        self._table = table
        self._where = f"table {table.schema}.{table.name}"
        self._fields = [(name, kind, len(columns_of(name, kind))) for name, kind in table.contract.fields.items()]

    def rows(self, partitions: Sequence[int]) -> Iterator[GoldenRow]:
        """Rows of these partitions, fetched in slices."""
        names = [column.name for name, kind in self._table.contract.fields.items() for column in columns_of(name, kind)]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        asked = _statement("rows", table=self._identifier(self._table.name), columns=columns)
        connection = self._connection
        with sink_errors(self._where), connection.transaction(), connection.cursor("golden") as cursor:
            cursor.itersize = _ROWS_A_FETCH
            for row in cursor.execute(asked, {"partitions": list(partitions)}):
                yield self._row(row)

    def strays(self, partitions: Sequence[int]) -> list[tuple[str, int, int]]:
        """(entity id, partition, offset) of rows outside of the topic's partitions."""
        asked = _statement("strays", table=self._identifier(self._table.name))
        return self._all(asked, {"partitions": list(partitions)})

    def graves(self, partitions: Sequence[int]) -> dict[str, tuple[int, int]]:
        """(topic epoch, offset) of deleted entities by id."""
        asked = _statement("graves", graves=self._identifier("_graves"))
        found = self._all(asked, {"entity": self._table.name, "partitions": list(partitions)})
        return {entity_id: (epoch, offset) for entity_id, epoch, offset in found}

    def epoch(self, topic: str) -> int | None:
        """The epoch under which rows are written now."""
        asked = _statement("epoch", topics=self._identifier("_topics"))
        found: list[tuple[int | None]] = self._all(asked, {"topic": topic})
        return found[0][0]

    def _all(self, asked: sql.Composed, parameters: Mapping[str, Any]) -> list[Any]:
        with sink_errors(self._where):
            return self._connection.execute(asked, parameters).fetchall()

    def _identifier(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._table.schema, name)

    def _row(self, row: tuple[Any, ...]) -> GoldenRow:
        fields, place = {}, 1
        for name, kind, width in self._fields:
            fields[name] = _json(kind, row[place : place + width])
            place += width
        revision, updated_at, epoch, partition, offset, provenance = row[place:]
        return GoldenRow(row[0], fields, revision, _micros(updated_at), epoch, partition, offset, provenance)


def ledger_lines(connection: Connection, schema: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and line of a sink's ledger, in order."""
    asked = _statement("ledger", ledger=sql.Identifier(schema, "_ledger"))
    with sink_errors(f"table {schema}._ledger"), connection.transaction(), connection.cursor("ledger") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(asked)


def row_findings(
    row: GoldenRow, offset: int, epoch: int | None, decoded: DecodedCanonical
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """What is wrong with a row whose newest canonical record stands at `offset` under the topic's `epoch`."""
    if (row.epoch, row.offset) != (epoch, offset):
        yield "I4", f"is of epoch {row.epoch}, offset {row.offset}; the newest is of epoch {epoch}, offset {offset}"
        return
    other = sorted(name for name, value in row.fields.items() if value != decoded.fields.get(name))
    if other:
        yield "canonical-table", f"has another {', '.join(other)} than its canonical record"
    sluice = decoded.sluice
    if (row.revision, row.updated_at) != (sluice["revision"], sluice["updated_at"]):
        yield "canonical-table", "has another revision or time than its canonical record"
    if row.provenance != {"contributors": sluice["contributors"], "winners": sluice["winners"]}:
        yield "canonical-table", "has another provenance than its canonical record"


def deleted_findings(
    row: GoldenRow | None, grave: tuple[int, int] | None, offset: int, epoch: int | None
) -> Iterator[tuple[Literal["I4", "canonical-table"], str]]:
    """What is wrong in the table with an entity whose newest canonical record is a tombstone."""
    if row is not None:
        yield "canonical-table", "stands, and its newest canonical record deletes it"
    if grave is None or grave < (epoch or 0, offset):
        yield "I4", "has no grave of its delete: an older record could bring it back"


def _statement(name: str, **parts: sql.Composable) -> sql.Composed:
    text = files("sluice.verify").joinpath("sql", f"{name}.sql").read_text("utf-8")
    return sql.SQL(text).format(**parts)


def _json(kind: FieldType, values: tuple[Any, ...]) -> Any:
    value = values[0]
    if kind.kind == "money":
        return None if value is None and values[1] is None else {"amount": _decimal(value), "currency": values[1]}
    if value is None:
        return None
    if kind.kind == "decimal":
        return _decimal(value)
    if kind.kind == "timestamp":
        return _micros(value)
    if kind.kind == "bytes":
        return base64.b64encode(value).decode("ascii")
    return value.isoformat() if kind.kind == "date" else value


def _decimal(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _micros(value: datetime) -> int:
    return (value - _EPOCH) // _MICROSECOND
