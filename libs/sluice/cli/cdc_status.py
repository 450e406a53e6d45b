"""`sluice cdc status`: how far each followed source is published, what its slot retains, and the state of each table.

The half that Kafka knows and the half that the database knows are read apart: if one of them does not answer, the
command prints the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sluice.cdc.connection import connect
from sluice.cdc.followed_source import followed_source
from sluice.cdc.slots import SlotState, format_lsn, slot_state, wal_end
from sluice.cdc.watermarks import FOLLOWED, PENDING, SourceWatermarks, TableWatermark, source_watermarks
from sluice.cli.cdc_check import SourceArgument, chosen_sources
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, print_result
from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import KafkaSettings, LogReader
from sluice.lag.sources import read_watermarks
from sluice.pipeline import Pipeline

_ANSWERS = (EnvironmentFault, SettingsError, Transient, ValueError)
_STATEMENT_TIMEOUT_S = 5.0


def status(source: SourceArgument = None, pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Show how far each followed source is published, and the state of each of its tables.

    For each source: the slot and whether a process reads it; the epoch; the LSN up to which changes are published, the
    LSN that the slot has confirmed, and the end of the server's log; the log that the slot retains on the server's
    disk; how old the newest published state is; and each table's state, with its fault and the next step.

    If Kafka or a database does not answer within its deadline, the output says so and shows the rest.

    Exit codes: 0, every table is followed; 1, a table is not followed or has a fault, or something is not known.
    """
    settings, loaded = chosen_pipeline(pipeline)
    names = chosen_sources(loaded, source)
    marks, kafka_why = _watermarks(settings.kafka, loaded)
    reports = {name: _report(loaded, name, marks, kafka_why) for name in names}
    lines = [line for name, report in reports.items() for line in _lines(name, report)]
    print_result(as_json, reports, lines, is_finding=not all(map(_is_well, reports.values())))


def _watermarks(kafka: KafkaSettings, pipeline: Pipeline) -> tuple[Mapping[str, Mapping[str, Any]], str]:
    try:
        with LogReader(kafka) as reader:
            return read_watermarks(reader, pipeline.names), ""
    except (EnvironmentFault, Transient) as error:
        return {}, str(error)


def _report(pipeline: Pipeline, name: str, marks: Mapping[str, Mapping[str, Any]], kafka_why: str) -> dict[str, Any]:
    """The status of source `name` as JSON. A fact that is not known is null; then `unknown` says why."""
    unknown = [f"what is published: {kafka_why}"] if kafka_why else []
    stored = SourceWatermarks(None, {})
    try:
        stored = source_watermarks(name, marks)
    except ValueError as error:
        unknown.append(f"what is published: {error}")
    slot, end = None, None
    try:
        slot, end = _slot(pipeline, name)
    except _ANSWERS as error:
        unknown.append(f"the slot: {error}")
    return {
        **_published(stored, end),
        **_retained(slot, end),
        "slot": followed_source(pipeline, name).slot,
        "tables": {} if kafka_why else _tables(pipeline, name, stored),
        "unknown": unknown,
    }


def _slot(pipeline: Pipeline, name: str) -> tuple[SlotState | None, int]:
    source = followed_source(pipeline, name)
    dsn = source.dsn.reveal()
    with connect(dsn, source.where, statement_timeout_s=_STATEMENT_TIMEOUT_S) as connection:
        return slot_state(connection, source.slot, source.where), wal_end(connection, source.where)


def _published(stored: SourceWatermarks, end: int | None) -> dict[str, Any]:
    mark = stored.slot
    behind = None if mark is None or end is None else max(0, end - mark.lsn)
    return {
        "epoch": None if mark is None else mark.epoch,
        "published_lsn": None if mark is None else format_lsn(mark.lsn),
        "server_lsn": None if end is None else format_lsn(end),
        "behind_bytes": behind,
        # The watermark moves at least with every heartbeat. Its age is therefore the age of the newest published state.
        "behind_seconds": None if mark is None else max(0.0, round(time.time() - mark.at / 1e6, 1)),
    }


def _retained(slot: SlotState | None, end: int | None) -> dict[str, Any]:
    known = slot is not None and end is not None and not slot.lost
    return {
        "slot_exists": None if end is None else slot is not None,
        "slot_lost": None if slot is None else slot.lost,
        "read_by": None if slot is None else slot.active_pid,
        "confirmed_lsn": None if slot is None else format_lsn(slot.confirmed_flush_lsn),
        "retained_bytes": max(0, (end or 0) - slot.restart_lsn) if slot is not None and known else None,
    }


def _tables(pipeline: Pipeline, name: str, stored: SourceWatermarks) -> dict[str, dict[str, Any]]:
    listed = pipeline.cdc_sources()[name].tables
    return {table: _table(stored.tables.get(table, TableWatermark())) for table in listed}


def _table(mark: TableWatermark) -> dict[str, Any]:
    waits = mark.state == PENDING and not mark.why
    return {
        "state": mark.state,
        "why": "it waits to be read" if waits else mark.why,
        "next_step": "start ingress-cdc if it does not run, else wait" if waits else mark.next_step,
    }


def _is_well(report: Mapping[str, Any]) -> bool:
    tables = report["tables"].values()
    followed = all(table["state"] == FOLLOWED and not table["why"] for table in tables)
    return followed and not report["unknown"] and bool(report["slot_exists"]) and not report["slot_lost"]


def _lines(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    if not report["slot_exists"]:
        state = "not known" if report["slot_exists"] is None else "it does not exist"
    elif report["slot_lost"]:
        state = "the server has invalidated it"
    else:
        state = "no process reads it" if report["read_by"] is None else f"read by server process {report['read_by']}"
    yield f"source {name}"
    yield f"  slot        {report['slot']}: {state}"
    yield f"  epoch       {_or_unknown(report['epoch'])}"
    yield (
        f"  published   {_or_unknown(report['published_lsn'])}   confirmed {_or_unknown(report['confirmed_lsn'])}"
        f"   server {_or_unknown(report['server_lsn'])}"
    )
    yield (
        f"  behind      {_or_unknown(report['behind_bytes'], ' bytes')}, {_or_unknown(report['behind_seconds'], ' s')}"
        f"   retained {_or_unknown(report['retained_bytes'], ' bytes')}"
    )
    for table, facts in report["tables"].items():
        yield f"  table {table}: {facts['state']}{': ' if facts['why'] else ''}{facts['why']}"
        if facts["next_step"]:
            yield f"    Next: {facts['next_step']}"
    for why in report["unknown"]:
        yield f"  not known: {why}"


def _or_unknown(value: object, unit: str = "") -> str:
    return "not known" if value is None else f"{value}{unit}"
