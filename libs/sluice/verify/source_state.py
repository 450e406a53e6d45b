"""Which sources are followed, as far as their watermarks and slots tell: what stands in raw says it of no other."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from sluice.cdc.connection import connect
from sluice.cdc.slots import (
    SlotState,
    SourceIdentity,
    format_lsn,
    identify,
    publication_of,
    slot_of,
    slot_state,
    wal_end,
)
from sluice.cdc.watermarks import BLOCKED, FOLLOWED, SlotWatermark, SourceWatermarks, TableWatermark, source_watermarks
from sluice.errors import EnvironmentFault
from sluice.kafka import LogReader
from sluice.names import Names
from sluice.pipeline import Pipeline
from sluice.pipeline.model import CdcSource
from sluice.verify.reading import records, spans_to
from sluice.verify.report import NotLookedAt

Watermarks = Mapping[str, Mapping[str, Any]]
# A poller that works asks twice within a stream's freshness; four times less often while stages lag.
_LATE_AFTER_FRESHNESS = 10
_LATE_AFTER_S = 60.0


class FollowedSource(NamedTuple):
    """A followed source's own names."""

    source: str
    dsn: str
    slot: str
    publication: str

    @property
    def where(self) -> str:
        return f"source {self.source}"

    def repair(self, table: str) -> str:
        return f"`sluice cdc resnapshot {self.source} --table {shlex.quote(table)}` reads it again"

    @classmethod
    def of(cls, pipeline: Pipeline, name: str, source: CdcSource) -> FollowedSource:
        """Raises SettingsError where the dsn is not to be had."""
        return cls(name, source.dsn.reveal(), slot_of(pipeline, name), publication_of(pipeline, name))


def read_watermarks(reader: LogReader, names: Names) -> dict[str, dict[str, Any]]:
    """The newest watermark of every key."""
    found: dict[str, dict[str, Any]] = {}
    spans = spans_to(reader, reader.ends([(names.watermarks, 0)]))
    for record in records(reader, spans):
        key = (record.key or b"").decode(errors="replace")
        if record.value:
            found[key] = orjson.loads(record.value)
        else:
            found.pop(key, None)
    return found


def marks_of(watermarks: Watermarks, source: str) -> SourceWatermarks:
    """Raises EnvironmentFault for a form that this version does not know."""
    try:
        return source_watermarks(source, watermarks)
    except (ValueError, TypeError, LookupError):
        why = "its form is not known to this version"
        raise EnvironmentFault(f"watermark of source {source}", why, "use the version that ingress-cdc has") from None


class SourceState(NamedTuple):
    """A source as it stands. `wal_end`: how far its log is written."""

    identity: SourceIdentity
    slot: SlotState | None
    wal_end: int


def observe(slot: FollowedSource) -> SourceState:
    """Who the source is, and its slot. Raises Transient, EnvironmentFault."""
    with connect(slot.dsn, slot.where, replication=True) as replication:
        identity = identify(replication, slot.where)
    with connect(slot.dsn, slot.where) as connection:
        state = slot_state(connection, slot.slot, slot.where)
        return SourceState(identity, state, wal_end(connection, slot.where))


def why_not_followed(slot: FollowedSource, watermark: SlotWatermark | None, observed: SourceState) -> str:
    """Why nothing that the source says now can reach raw; empty where it can. Whether somebody reads the slot is asked
    later: a reader that begins anew is away for a moment."""
    identity, state, _ = observed
    if watermark is None or watermark.lsn == 0:
        return "nothing of it was published yet"
    if (watermark.system_id, watermark.timeline) != (identity.system_id, identity.timeline):
        return "it is another database than the one that was followed"
    if watermark.slot != slot.slot:
        return f"followed so far was slot {watermark.slot}, not {slot.slot}"
    if state is None:
        return f"slot {slot.slot} does not exist"
    if state.lost:
        return f"the server has thrown away log that slot {slot.slot} needs"
    if state.confirmed_flush_lsn > watermark.lsn:
        begins = format_lsn(state.confirmed_flush_lsn)
        return f"slot {slot.slot} begins at {begins}, and published is up to {format_lsn(watermark.lsn)}"
    return ""


def why_not_read(mark: TableWatermark | None) -> str:
    """Why raw does not hold all of a table, empty where it does."""
    if mark is None:
        return "it was added to the pipeline, and is not followed yet"
    if mark.state == FOLLOWED:
        return ""
    state = "it is blocked" if mark.state == BLOCKED else "it is not read yet"
    return f"{state}: {mark.why}" if mark.why else state


def polled_streams(pipeline: Pipeline, watermarks: Watermarks, now_s: float | None = None) -> Iterator[NotLookedAt]:
    """What is to be said of every polled stream: no API shows all of itself at one moment."""
    now_s = time.time() if now_s is None else now_s
    for source, about in pipeline.poll_sources().items():
        for stream, settings in about.streams.items():
            what = f"source {source}, stream {stream}"
            late_after_s = max(_LATE_AFTER_S, _LATE_AFTER_FRESHNESS * settings.freshness)
            yield _polled(what, watermarks.get(f"{source}/{stream}"), now_s, late_after_s)


def _polled(what: str, mark: Mapping[str, Any] | None, now_s: float, late_after_s: float) -> NotLookedAt:
    if mark is None:
        return NotLookedAt(
            what, "nothing of it was published yet", "start ingress-poller; its log says what it waits for"
        )
    answered_s, listed_us = now_s - mark["at"] / 1e6, mark.get("enumerated_at")
    if answered_s > late_after_s:
        why = f"its last answer is {_age(answered_s)} old: it is not polled"
        return NotLookedAt(what, why, "start ingress-poller; its log and /readyz say what it waits for")
    if listed_us is None:
        return NotLookedAt(
            what, "it was never listed as a whole", "wait for ingress-poller to do so, or see its alarms"
        )
    listed = _age(now_s - listed_us / 1e6)
    return NotLookedAt(what, f"an API is not compared with raw; it was listed as a whole {listed} ago", "", "by design")


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
