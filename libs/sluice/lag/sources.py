"""How far behind its source each ingress stream is: bytes of write-ahead log, or the age of the last answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import KafkaSettings, read_to_end
from sluice.pipeline import Pipeline
from sluice.pipeline.model import CdcSource
from sluice.postgres.slot_watermark import FOLLOWED, TableMark, source_watermarks
from sluice.postgres.slots import wal_end
from sluice.postgres.source_connection import connect


class SourceLag(NamedTuple):
    """`wal_bytes` (CDC): what the source wrote beyond the watermark. `answer_age_s` (poll): since the last page was
    published. None where it cannot be known, with `why`. `tables` (CDC): by name, those that are not simply followed,
    with what is wrong."""

    source: str
    stream: str
    kind: str
    wal_bytes: int | None = None
    answer_age_s: float | None = None
    why: str = ""
    tables: Mapping[str, str] = {}


def source_lags(pipeline: Pipeline, settings: KafkaSettings) -> list[SourceLag]:
    """One line per polled stream and per followed database. Raises Transient or EnvironmentFault for Kafka only."""
    marks: dict[str, dict[str, Any]] = {}
    for message in read_to_end(settings, pipeline.names.watermarks, {0: 0}):
        key, value = message.key(), message.value()
        if key is not None and value:
            marks[key.decode()] = orjson.loads(value)
    polled = [_polled(s.source, s.stream, marks) for s in pipeline.streams() if s.kind == "poll"]
    return polled + [_followed(name, source, marks) for name, source in pipeline.cdc_sources().items()]


def _polled(source: str, stream: str, marks: Mapping[str, Mapping[str, Any]]) -> SourceLag:
    mark = marks.get(f"{source}/{stream}")
    if mark is None:
        return SourceLag(source, stream, "poll", why="no page was published yet")
    return SourceLag(source, stream, "poll", answer_age_s=max(0.0, time.time() - mark["at"] / 1e6))


def _followed(name: str, source: CdcSource, marks: Mapping[str, Mapping[str, Any]]) -> SourceLag:
    lag = SourceLag(name, "*", "cdc")
    try:
        slot, tables = source_watermarks(name, marks)
        lag = lag._replace(tables={table: _told(mark) for table, mark in tables.items() if _told(mark)})
        if slot is None:
            return lag._replace(why="nothing was published yet")
        where = f"source {name}"
        with connect(source.dsn.reveal(), where, statement_timeout_s=5.0) as connection:
            return lag._replace(wal_bytes=max(0, wal_end(connection, where) - slot.lsn))
    except (EnvironmentFault, SettingsError, Transient, ValueError) as error:
        return lag._replace(why=str(error))


def _told(table: TableMark) -> str:
    """What is wrong with a followed table; empty where nothing is."""
    if table.why:
        return f"{table.state}: {table.why}. Next: {table.next_step}"
    return "" if table.state == FOLLOWED else f"{table.state}: it is waiting to be read"
