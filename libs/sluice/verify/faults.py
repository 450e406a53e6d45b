"""Alarms that stand: each stage tells in `sluice.faults` what keeps it from its work, and takes it back at its end."""

from __future__ import annotations

from typing import Any

import orjson

from sluice.errors import EnvironmentFault
from sluice.kafka import LogReader
from sluice.kafka.topics import Topics
from sluice.names import Names
from sluice.times import from_us
from sluice.verify.reading import records, spans_to
from sluice.verify.report import NotLookedAt


def active_faults(topics: Topics, reader: LogReader, names: Names) -> list[NotLookedAt]:
    """The alarms that have not ended, or that nobody can know them."""
    topic = names.faults
    try:
        topics.pinned([topic])
    except EnvironmentFault as fault:
        return [NotLookedAt("what the stages told", f"whether alarms stand is not known: {fault.why}", fault.next_step)]
    standing: dict[bytes, bytes] = {}
    for record in records(reader, spans_to(reader, reader.ends([(topic, 0)]))):
        if record.key is not None and record.value:
            standing[record.key] = record.value
        else:
            standing.pop(record.key or b"", None)
    return [_told(key.decode(errors="replace"), value) for key, value in standing.items()]


def _told(key: str, value: bytes) -> NotLookedAt:
    """What an alarm is about cannot be called right, whatever the logs say."""
    what = f"fault of {key}"
    try:
        read: dict[str, Any] = orjson.loads(value)
        since = from_us(int(read["since"])).isoformat(timespec="seconds")
        return NotLookedAt(what, f"stands since {since}: {read['why']}", "")
    except (ValueError, LookupError, TypeError, OverflowError):
        return NotLookedAt(what, "stands, in a form that this version does not read", "use a newer `sluice verify`")
