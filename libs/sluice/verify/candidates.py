"""Differences that a stage may be about to remove. One is a finding only if its input did not change meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sluice.errors import DeadRecord
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, read_records
from sluice.raw import raw_record
from sluice.verify.entity_logs import entity_of
from sluice.verify.report import Check, Report

Watched = tuple[Partition, str]
"""A partition of an input topic, and a source key or entity id. A new record of it there would explain a difference."""


class Candidate(NamedTuple):
    """A finding, unless a record of `watched` was written while the verification ran. Other fields: see `Finding`."""

    check: Check
    where: str
    key: str
    what: str
    watched: Watched


def confirm_candidates(
    reader: LogReader, candidates: Sequence[Candidate], read_to: Mapping[Partition, int], report: Report
) -> None:
    """Report every candidate whose input did not change; count each other candidate as moving.

    The input changed if a record of `watched` is at or after `read_to`, the offset up to which verification has read
    the partition. Raises EnvironmentFault or Transient if Kafka cannot be read.
    """
    ends = reader.ends(sorted({one.watched[0] for one in candidates}))
    spans = {at: (min(read_to[at], end), end) for at, end in ends.items()}
    changed = {(record.at, name) for record in read_records(reader, spans) for name in _names(record)}
    for one in candidates:
        if one.watched in changed or (one.watched[0], "") in changed:
            report.checked["moving"] += 1
        else:
            report.found(one.check, one.where, one.key, one.what)


def _names(record: Record) -> Iterator[str]:
    """Yields the record's key, entity id and source key, or an empty string for a sweep, which changes every key."""
    if raw_record.is_sweep(record):
        yield ""
        return
    yield (record.key or b"").decode(errors="replace")
    yield entity_of(record.key)
    with suppress(DeadRecord):
        yield raw_record.source_key(record)
