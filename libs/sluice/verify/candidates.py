"""Differences that a stage may be about to remove. A difference is a finding only if its input did not change
meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    """A finding, unless a record of `watched` was written while the verification ran. The other fields: see
    `Finding`."""

    check: Check
    where: str
    key: str
    what: str
    watched: Watched


def confirm_candidates(
    reader: LogReader, candidates: Iterable[Candidate], read_to: Mapping[Partition, int], report: Report
) -> None:
    """Report every candidate for which no record was written since; count each other candidate as moving.

    `read_to`: by partition, the offset up to which the verification has read it.
    """
    waiting = list(candidates)
    changed = _changed(reader, {one.watched[0] for one in waiting}, read_to)
    for one in waiting:
        if one.watched in changed or (one.watched[0], "") in changed:
            report.checked["moving"] += 1
        else:
            report.found(one.check, one.where, one.key, one.what)


def _changed(reader: LogReader, partitions: set[Partition], read_to: Mapping[Partition, int]) -> set[Watched]:
    ends = reader.ends(sorted(partitions))
    spans = {at: (min(read_to[at], end), end) for at, end in ends.items()}
    return {(record.at, name) for record in read_records(reader, spans) for name in _names(record)}


def _names(record: Record) -> Iterator[str]:
    """Yields the entity id or source key that a record changes; an empty string for a sweep, which changes every
    key."""
    if raw_record.is_sweep(record):
        yield ""
        return
    yield (record.key or b"").decode(errors="replace")
    yield entity_of(record.key)
    with suppress(DeadRecord):
        yield raw_record.source_key(record)
