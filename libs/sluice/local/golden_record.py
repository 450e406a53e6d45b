"""Finds a golden record to show on the screen, which has values of several sources, and counts the golden rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg
from psycopg import sql

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000
_FIND = """
SELECT entity_id FROM {table}
WHERE _offset >= (%(starts)s::bigint[])[_partition + 1]
  AND (SELECT count(DISTINCT c ->> 'source') FROM jsonb_array_elements(_provenance -> 'contributors') AS c)
      >= %(sources)s
ORDER BY _updated_at DESC LIMIT 1
"""
# Golden rows are counted up to this number. Counting more of them every two seconds would load the database.
COUNTED_MAX = 1_000_000
_COUNT = "SELECT count(*) FROM (SELECT FROM {table} LIMIT %s) AS counted"
_FIELDS = """
SELECT field, value::text, source, stream, source_key, rule FROM {view}
WHERE entity_id = %s AND value IS NOT NULL
"""


class GoldenField(NamedTuple):
    field: str
    value: str
    source: str
    stream: str
    source_key: str
    rule: str


class GoldenRecord(NamedTuple):
    entity: str
    entity_id: str
    fields: list[GoldenField]

    @property
    def sources(self) -> set[str]:
        return {f.source for f in self.fields}


class GoldenRows:
    """Reads golden rows from a sink's tables in Postgres.

    `starts`: for each entity, the end offset of each canonical partition when this run started. A row with a smaller
    offset was written by an earlier run.
    """

    def __init__(self, dsn: str, schema: str, starts: Mapping[str, list[int]]) -> None:
        self._dsn = dsn
        self._schema = schema
        self._starts = starts

    def find(self, sources_min: int, *, earlier: bool = False) -> GoldenRecord | None:
        """The newest golden record with values of at least `sources_min` sources. Only records that this run wrote
        count, or with `earlier` those of all runs.

        Returns None if there is no such record or no table yet.
        """
        starts = {entity: [0] * len(ends) for entity, ends in self._starts.items()} if earlier else self._starts
        with suppress(psycopg.Error), self._connected() as connection:
            for entity, ends in starts.items():
                query = sql.SQL(_FIND).format(table=sql.Identifier(self._schema, entity))
                row = connection.execute(query, {"starts": ends, "sources": sources_min}).fetchone()
                if row is not None:
                    view = sql.SQL(_FIELDS).format(view=sql.Identifier(self._schema, f"{entity}_provenance"))
                    fields = connection.execute(view, (row[0],)).fetchall()
                    return GoldenRecord(entity, row[0], [GoldenField(*f) for f in fields])
        return None  # also if there is no table yet, or Postgres refuses; the sink stage reports why

    def counts(self) -> dict[str, int] | None:
        """The number of golden rows of each entity, at most `COUNTED_MAX` each; None if there is no table yet or
        Postgres does not answer."""
        with suppress(psycopg.Error), self._connected() as connection:
            found = {}
            for entity in self._starts:
                query = sql.SQL(_COUNT).format(table=sql.Identifier(self._schema, entity))
                row = connection.execute(query, [COUNTED_MAX]).fetchone()
                found[entity] = int(row[0]) if row else 0
            return found
        return None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}")
            yield connection
