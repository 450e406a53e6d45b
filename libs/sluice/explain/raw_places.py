"""Finds the raw record of a claim in its log, and the stored API response that contained it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Literal, NamedTuple
from uuid import UUID

from sluice.errors import DeadRecord
from sluice.explain.responses import fetched_ms_of, find_response, uuid_of
from sluice.headers import RESPONSE_HEADER
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.kafka.record import Record, read_records
from sluice.names import Names
from sluice.provenance import RawRef
from sluice.raw import raw_record


class ResponsePlace(NamedTuple):
    """The place of a stored response; `partition` and `offset` are None if the response expired. `fetched_ms`: when it
    was fetched (Unix ms), according to its id."""

    response_id: str
    topic: str
    partition: int | None
    offset: int | None
    fetched_ms: int

    @property
    def expired(self) -> bool:
        return self.offset is None


class RawPlace(NamedTuple):
    """What the log contains of a raw record. "compacted": compaction removed the record, and the newest record of its
    key is at `newest_offset`. "missing": the log has neither this record nor a newer one of its key."""

    state: Literal["exists", "compacted", "missing"]
    newest_offset: int | None = None
    response: ResponsePlace | None = None


def raw_places(
    reader: LogReader, names: Names, partitions: int, wanted: Iterable[tuple[RawRef, str, str]]
) -> dict[RawRef, RawPlace]:
    """Find raw records. `wanted`: each with its source and source key. Raises EnvironmentFault or Transient if Kafka
    cannot be read."""
    found = {}
    for raw, source, source_key in set(wanted):
        record = next(_read(reader, raw.at, raw.offset, raw.offset + 1), None)
        if record is None:
            found[raw] = _newest(reader, raw, source_key)
            continue
        response_id = uuid_of(record.headers.get(RESPONSE_HEADER, b"").decode("latin-1"))
        place = _response(reader, names.responses(source), partitions, response_id) if response_id else None
        found[raw] = RawPlace("exists", raw.offset, place)
    return found


def _newest(reader: LogReader, raw: RawRef, source_key: str) -> RawPlace:
    newest = None
    for record in _read(reader, raw.at, raw.offset, reader.ends([raw.at])[raw.at]):
        with suppress(DeadRecord):
            if raw_record.source_key(record) == source_key:
                newest = record.offset
    return RawPlace("missing" if newest is None else "compacted", newest)


def _read(reader: LogReader, at: Partition, start: int, end: int) -> Iterator[Record]:
    begin = reader.beginnings([at])[at]
    return read_records(reader, {at: (max(start, begin), end)})


def _response(reader: LogReader, topic: str, partitions: int, response_id: UUID) -> ResponsePlace:
    found = find_response(reader, topic, partitions, response_id)
    partition, offset = (None, None) if found is None else (found.partition, found.offset)
    return ResponsePlace(str(response_id), topic, partition, offset, fetched_ms_of(response_id))
