"""How far ingress is behind each source: bytes of the write-ahead log for a database, the age of the last answer for a
polled stream."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.cdc.connection import connect
from sluice.cdc.slots import is_followed, slot_of, wal_end
from sluice.cdc.watermarks import FOLLOWED, TableWatermark, source_watermarks
from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import LogReader
from sluice.kafka.control import json_object
from sluice.kafka.log import newest_by_key
from sluice.names import Names
from sluice.pipeline import Pipeline
from sluice.pipeline.model import CdcSource

# A source counts as silent if its last watermark is this much older than the expected interval. ingress-cdc writes the
# watermark at most this long after the change that moved it.
LATE_S = 10.0
_FOREIGN = (
    "no version of Sluice wrote this form of watermark. Next: find what else writes to this topic, then restart the "
    "stage of the source, which reports how to continue"
)


class SourceLag(NamedTuple):
    """How far ingress is behind a polled stream or a followed database.

    `wal_bytes` (CDC): bytes that the database wrote to its log beyond the watermark. `answer_age_s` (poll): age of the
    last page that was published. Both are None if they are not known; then `why` has the reason. `tables` (CDC): what
    is wrong with each table that is not followed or has a fault, by table name.

    `seen_age_s`: age of the last watermark of the stream or database, None if there is none. `seen_every_s`: the
    longest interval between two watermarks while a process works. `attended` (CDC): whether a process reads the slot
    now, None if not known.
    """

    source: str
    stream: str
    kind: str
    wal_bytes: int | None = None
    answer_age_s: float | None = None
    why: str = ""
    tables: Mapping[str, str] = {}
    seen_age_s: float | None = None
    seen_every_s: float = 0.0
    attended: bool | None = None

    @property
    def silent(self) -> bool:
        """Whether the last watermark is older than it is while a process works on the source."""
        return self.seen_age_s is not None and self.seen_age_s > self.seen_every_s + LATE_S


def read_watermarks(reader: LogReader, names: Names) -> dict[str, dict[str, Any]]:
    """The newest watermark of each key. A record that is no JSON object is not Sluice's; its watermark is empty."""
    newest = newest_by_key(reader, names.watermarks)
    return {key.decode(errors="replace"): json_object(value) or {} for key, value in newest.items()}


def source_lags(pipeline: Pipeline, reader: LogReader) -> list[SourceLag]:
    """The lag of each polled stream and each followed database. Blocks.

    Raises Transient or EnvironmentFault if Kafka cannot be read. If a source cannot be read, `why` of its lag says so.
    """
    marks = read_watermarks(reader, pipeline.names)
    polled = [_polled(pipeline, s.source, s.stream, marks) for s in pipeline.streams() if s.kind == "poll"]
    return polled + [_followed(pipeline, name, source, marks) for name, source in pipeline.cdc_sources().items()]


def _polled(pipeline: Pipeline, source: str, stream: str, marks: Mapping[str, Mapping[str, Any]]) -> SourceLag:
    mark = marks.get(f"{source}/{stream}")
    if mark is None:
        return SourceLag(source, stream, "poll", why="no page was published yet")
    if not isinstance(mark.get("at"), int | float):
        return SourceLag(source, stream, "poll", why=f"{source}/{stream} in {pipeline.names.watermarks}: {_FOREIGN}")
    age_s = max(0.0, time.time() - mark["at"] / 1e6)
    freshness_s = pipeline.poll_sources()[source].streams[stream].freshness
    return SourceLag(source, stream, "poll", answer_age_s=age_s, seen_age_s=age_s, seen_every_s=freshness_s)


def _followed(pipeline: Pipeline, name: str, source: CdcSource, marks: Mapping[str, Mapping[str, Any]]) -> SourceLag:
    lag = SourceLag(name, "*", "cdc")
    try:
        slot, tables = source_watermarks(name, marks)
        lag = lag._replace(tables={table: _fault_of(mark) for table, mark in tables.items() if _fault_of(mark)})
        if slot is None:
            lag = lag._replace(why="nothing was published yet")
        else:
            lag = lag._replace(seen_age_s=max(0.0, time.time() - slot.at / 1e6), seen_every_s=source.heartbeat)
        where, called = f"source {name}", slot_of(pipeline, name)
        with connect(source.dsn.reveal(), where, statement_timeout_s=5.0) as connection:
            lag = lag._replace(attended=is_followed(connection, called, where))
            if slot is not None:
                lag = lag._replace(wal_bytes=max(0, wal_end(connection, where) - slot.lsn))
    except (ValueError, LookupError, TypeError):
        return lag._replace(why=f"source {name} in {pipeline.names.watermarks}: {_FOREIGN}")
    except (EnvironmentFault, SettingsError, Transient) as error:
        return lag._replace(why=f"{lag.why}; {error}" if lag.why else str(error))
    return lag


def _fault_of(table: TableWatermark) -> str:
    """What is wrong with a table of a followed source; empty if the table is followed and has no fault."""
    if table.why:
        return f"{table.state}: {table.why}. Next: {table.next_step}"
    return "" if table.state == FOLLOWED else f"{table.state}: it waits to be read"
