"""Compares the rows that the raw topic of a followed table represents with the rows of the table."""

from __future__ import annotations

from typing import Any

from sluice import json_text
from sluice.cdc.connection import connect
from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.pgoutput import Row
from sluice.cdc.table_facts import load_types, table_facts
from sluice.kafka.record import Record
from sluice.raw.raw_record import LeftOut, Op, read_change
from support.cdc import Source
from support.waiting import eventually

Rows = dict[str, dict[str, Any]]


def rows_published(source: Source, table: str) -> Rows:
    """The rows that the raw topic of `table` represents, by key, as the mapper would complete them; nulls are left out.

    The record at the highest position counts. Swept keys are deleted. A value that a record leaves out is taken from
    the record before, by column name.
    """
    records = sorted(source.raw(table), key=lambda r: (r.position, r.value is None))
    swept = max((r.position for r in records if r.is_sweep), default=None)
    rows: Rows = {}
    for raw in records:
        if raw.is_sweep or (swept is not None and raw.position < swept):
            continue
        key = raw.key.decode()
        change = read_change(Record("raw", 0, 0, raw.key, raw.value, raw.headers, 0), key, raw.position)
        if change.op is Op.DELETE:
            rows.pop(key, None)
            continue
        before = rows.get(key, {})
        rows[key] = {
            column: before.get(column, LeftOut.UNKNOWN) if value is LeftOut.UNCHANGED else value
            for column, value in change.row.items()
        }
    return {key: {c: v for c, v in row.items() if v is not None} for key, row in rows.items()}


def rows_stored(source: Source, table: str) -> Rows:
    """The current published rows of `table` in the source, by key, with the published columns; nulls are left out."""
    where = "test"
    with connect(source.dsn, where) as connection:
        facts = table_facts(connection, source.slot.publication, [f"public.{table}"], where)[f"public.{table}"]
        events = TableEvents(EventSource("", "", ""), facts.relation, facts.primary_key, load_types(connection, where))
        columns = ", ".join(f'"{c.name}"' for c in facts.relation.columns)
        only = "" if facts.partitioned else "ONLY "
        condition = f"WHERE {facts.row_filter}" if facts.row_filter else ""
        result = connection.execute(f'SELECT {columns} FROM {only}public."{table}" {condition}'.encode()).pgresult
        assert result is not None
        rows: Rows = {}
        for i in range(result.ntuples):
            row: Row = [result.get_value(i, j) for j in range(result.nfields)]
            change = events.snapshot_row(row, TransactionInfo(0, None, None), 0)
            after = json_text.decode(change.value or b"")["after"]
            rows[change.key.decode()] = {c: v for c, v in after.items() if v is not None}
    return rows


def equal(source: Source, *tables: str) -> bool:
    """Whether the rows in the raw topic of each table equal the rows of the table in the source."""
    return all(rows_published(source, table) == rows_stored(source, table) for table in tables)


def await_equal(source: Source, *tables: str) -> None:
    eventually(lambda: equal(source, *tables), f"{tables} are as in the source")
