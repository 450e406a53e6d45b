"""Records when each version of a golden row arrived. The database itself notes the time, so latency is measured without
polling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

_NOTE = """
CREATE TABLE public.arrival (at_us bigint NOT NULL, entity text NOT NULL, entity_id text NOT NULL, row jsonb);
CREATE FUNCTION public.note_arrival() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.arrival
    VALUES (extract(epoch FROM clock_timestamp()) * 1000000, TG_TABLE_NAME, coalesce(NEW.entity_id, OLD.entity_id),
            CASE TG_OP WHEN 'DELETE' THEN NULL ELSE to_jsonb(NEW) END);
    RETURN NULL;
END $$;
"""
_BASELINE = "INSERT INTO public.arrival SELECT 0, {name}, entity_id, to_jsonb(golden) FROM {table} AS golden"
_TRIGGER = """
CREATE TRIGGER note_arrival AFTER INSERT OR UPDATE OR DELETE ON {table}
FOR EACH ROW EXECUTE FUNCTION public.note_arrival()
"""


@dataclass(frozen=True)
class Arrival:
    """One version of a row, and the Unix time of its arrival in µs. `row` is None for a delete. The version that
    existed when `note_arrivals` was called has time 0."""

    at_us: int
    entity: str
    entity_id: str
    row: dict[str, Any] | None


def note_arrivals(dsn: str, entities: Iterable[str], schema: str = "golden") -> None:
    """Let the database note every later change of these tables."""
    with psycopg.connect(dsn) as connection:
        connection.execute(_NOTE)
        for entity in entities:
            table = sql.Identifier(schema, entity)
            connection.execute(sql.SQL(_TRIGGER).format(table=table))
            connection.execute(sql.SQL(_BASELINE).format(table=table, name=sql.Literal(entity)))


def arrivals(dsn: str) -> list[Arrival]:
    """All noted versions, in order of time."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT at_us, entity, entity_id, row FROM public.arrival ORDER BY at_us")
        return [Arrival(*row) for row in rows]
