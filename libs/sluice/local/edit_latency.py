"""How long an edit takes from its source to the golden row.

The clock starts before the edit's request is sent to the source. It stops at Postgres's commit timestamp of the row
version that has the edited value. The row is read a moment later: if it was written again by then, the later commit
counts, so that a reported latency may be too large and never too small. An edit that changes two golden records counts
twice. Not counted: edits sent before `count_from` (the pipeline was starting), deletes, edits overwritten before they
were read, and edits that set the value that the row already had.
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
# Bounds memory and the query: an edit that has not arrived after so many later ones is dropped.
PENDING_MAX = 5_000
_COMMITTED = "_committed_us"
_ROWS = """
SELECT entity_id, {columns}, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint AS {committed}
FROM {table} WHERE entity_id = ANY(%s)
"""

Shown = Callable[[Sequence[Mapping[str, Any]]], Iterable[GoldenValue]]


class EditLatency:
    """`dsn`, `schema`: of the golden tables; `log`: of the live edits; `shown`: which golden values edits call for.

    `count_from`: Unix µs; None counts nothing yet. Edits are read in the order in which they were sent.
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
        """Read the rows of edits that have not arrived yet. Call it about twice a second."""
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
            return  # no table yet, or the database is away: all edits stay pending
        self._pending = left

    def summary(self) -> dict[str, float | int | None]:
        """`median` and `p99` in seconds (None without edits), and how many edits they are made of."""
        ordered = sorted(self._latencies_s)
        return {"median": quantile(ordered, 0.5), "p99": quantile(ordered, 0.99), "edits": len(ordered)}

    def _measure(
        self, connection: psycopg.Connection[dict[str, Any]], entity: str, wanted: list[GoldenValue]
    ) -> list[GoldenValue]:
        """Record the latency of the edits that the rows of `entity` show; returns the others."""
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
        """The lines that were appended to the log since the last call."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._read_to)
                whole, newline, _ = log.read().rpartition(b"\n")
        except OSError:
            return []
        self._read_to += len(whole) + len(newline)
        return [orjson.loads(line) for line in whole.splitlines()]


def shows(cell: object, value: object) -> bool:
    """Whether a cell equals `value` in its JSON form: numbers, ISO dates, Unix microseconds for times."""
    match cell:
        case datetime():
            return to_us(cell) == value
        case date():
            return cell.isoformat() == value
        case Decimal():
            return cell == Decimal(str(value))
    return cell == value


def quantile(ordered: Sequence[float], fraction: float) -> float | None:
    """The nearest-rank quantile of ascending values, to the millisecond."""
    return round(ordered[max(0, math.ceil(fraction * len(ordered)) - 1)], 3) if ordered else None
