"""Measures how long an edit takes from its source system to the golden row.

The time starts before the request of the edit is sent to the source. It ends at Postgres's commit timestamp of the row
version that has the edited value. The row is read a moment later. If it was written again by then, the later commit
counts, so that a reported latency may be too large and is never too small. An edit that changes two golden records
counts twice.

These edits are not counted: edits sent before `count_from` (while the pipeline was starting), deletes, edits
overwritten before the row was read, and edits that set the value that the row already had.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sluice.testing.example import GoldenValue
from sluice.times import to_us

CONNECT_TIMEOUT_S = 5
# If more edits than this have not arrived in the golden rows, the oldest are dropped. This limits the memory and the
# size of the query.
PENDING_MAX = 5_000
_COMMITTED = "_committed_us"
_ROWS = """
SELECT entity_id, {columns}, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint AS {committed}
FROM {table} WHERE entity_id = ANY(%s)
"""

Shown = Callable[[Sequence[Mapping[str, Any]]], Iterable[GoldenValue]]


class EditLatency:
    """Measures how long the live edits of a source take to the golden rows. Edits are read in the order in which they
    were sent.

    `dsn`, `schema`: of the golden tables. `log`: the file of the live edits. `shown`: a function that returns the
    golden values that must result from edits. `count_from`: edits sent before this time (Unix µs) are not counted; None
    counts no edit.
    """

    def __init__(self, dsn: str, schema: str, log: Path, shown: Shown) -> None:
        self._dsn = dsn
        self._schema = schema
        self._log = log
        self._shown = shown
        self.count_from: int | None = None
        self._read_to = 0
        self._pending: list[GoldenValue] = []
        self._latencies_s: list[float] = []

    def sample(self) -> None:
        """Read the golden rows that show the source's edits, and record the latency of each edit that a row shows
        for the first time. Call this about twice a second."""
        counted = [edit for edit in self._new_edits() if self.count_from and edit["sent_at"] >= self.count_from]
        if not counted and not self._pending:
            return
        self._pending = [*self._pending, *self._shown(counted)][-PENDING_MAX:]
        by_entity: dict[str, list[GoldenValue]] = defaultdict(list)
        for wanted in self._pending:
            by_entity[wanted.entity].append(wanted)
        left: list[GoldenValue] = []
        try:
            with psycopg.connect(self._dsn, row_factory=dict_row, connect_timeout=CONNECT_TIMEOUT_S) as connection:
                for entity, due in by_entity.items():
                    left += self._measure(connection, entity, due)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.OperationalError):
            return  # no table yet, or Postgres does not answer: all edits stay pending
        self._pending = left

    def summary(self) -> dict[str, float | int | None]:
        """The latencies so far: `median` and `p99` in seconds (None without edits), and `edits`, the number of
        latencies."""
        ordered = sorted(self._latencies_s)
        return {"median": quantile(ordered, 0.5), "p99": quantile(ordered, 0.99), "edits": len(ordered)}

    def _measure(
        self, connection: psycopg.Connection[dict[str, Any]], entity: str, wanted: list[GoldenValue]
    ) -> list[GoldenValue]:
        """Record the latency of each value of `wanted` that the golden rows of `entity` now have. Returns the values
        that they do not have yet."""
        fields = sorted({one.field for one in wanted})
        query = sql.SQL(_ROWS).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, fields)),
            committed=sql.Identifier(_COMMITTED),
            table=sql.Identifier(self._schema, entity),
        )
        found = connection.execute(query, [sorted({one.entity_id for one in wanted})])
        rows = {row["entity_id"]: row for row in found}
        left = []
        for one in wanted:
            row = rows.get(one.entity_id)
            if row is None or not shows(row[one.field], one.value):
                left.append(one)
            elif row[_COMMITTED] is not None and row[_COMMITTED] >= one.sent_at:
                self._latencies_s.append((row[_COMMITTED] - one.sent_at) / 1e6)
        return left

    def _new_edits(self) -> list[dict[str, Any]]:
        """The edits that were appended to the log file since the last call."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._read_to)
                whole, newline, _ = log.read().rpartition(b"\n")
        except OSError:
            return []
        self._read_to += len(whole) + len(newline)
        return [orjson.loads(line) for line in whole.splitlines()]


def shows(cell: object, value: object) -> bool:
    """Whether a cell of a golden row equals `value`, which is in JSON form: numbers, ISO dates, Unix microseconds for
    times."""
    match cell:
        case datetime():
            return to_us(cell) == value
        case date():
            return cell.isoformat() == value
        case Decimal():
            return cell == Decimal(str(value))
    return cell == value


def quantile(ordered: Sequence[float], fraction: float) -> float | None:
    """The nearest-rank quantile of numbers in ascending order, rounded to three decimals; None if there is no
    number."""
    return round(ordered[max(0, math.ceil(fraction * len(ordered)) - 1)], 3) if ordered else None
