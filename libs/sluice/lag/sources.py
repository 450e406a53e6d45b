"""How far behind its source each ingress stream is: bytes of write-ahead log, or the age of the last answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.cdc.connection import connect
from sluice.cdc.slot_watermark import FOLLOWED, TableMark, source_watermarks
from sluice.cdc.slots import is_followed, slot_of, wal_end
from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka import KafkaSettings, read_to_end
from sluice.kafka.control import json_object
from sluice.pipeline import Pipeline
from sluice.pipeline.model import CdcSource

# The watermark of a followed source is written this long after what moved it, at most; a pass takes its time, too.
LATE_S = 10.0
_FOREIGN = (
    "the watermark has a form that no version of ours wrote. Next: find who writes there, and restart its stage, which "
    "tells how to go on"
)


class SourceLag(NamedTuple):
    """`wal_bytes` (CDC): what the source wrote beyond the watermark. `answer_age_s` (poll): since the last page was
    published. None where it cannot be known, with `why`. `tables` (CDC): by name, those that are not simply followed,
    with what is wrong.

    `seen_age_s`: since the stream's process last showed itself, None if it never did; `seen_every_s`: how far apart
    that is expected at most. `attended`: whether a process is at work at the slot now; None where that is not known.
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
        """Whether its process showed itself once, and is late to do so again."""
        return self.seen_age_s is not None and self.seen_age_s > self.seen_every_s + LATE_S


def source_lags(pipeline: Pipeline, settings: KafkaSettings) -> list[SourceLag]:
    """One line per polled stream and per followed database. Raises Transient or EnvironmentFault for Kafka only."""
    marks: dict[str, dict[str, Any]] = {}
    for message in read_to_end(settings, pipeline.names.watermarks, {0: 0}):
        key = (message.key() or b"").decode(errors="replace")
        marks.pop(key, None)
        if message.value():
            marks[key] = json_object(message.value() or b"") or {}  # of a form that nobody of ours wrote
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
        lag = lag._replace(tables={table: _told(mark) for table, mark in tables.items() if _told(mark)})
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


def _told(table: TableMark) -> str:
    """What is wrong with a followed table; empty where nothing is."""
    if table.why:
        return f"{table.state}: {table.why}. Next: {table.next_step}"
    return "" if table.state == FOLLOWED else f"{table.state}: it is waiting to be read"
