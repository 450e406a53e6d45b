"""Records that are newer than a claim: the place of the newest unread record of each wanted key is found."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from sluice.explain.newer_records import newest_places
from sluice.headers import POSITION_HEADER
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import RawRef

TOPIC = "raw.hr.workers"
WANTED = {(TOPIC, '{"id":"W"}')}


def record(offset: int, minor: int, key: bytes = b'{"id":"W"}', value_bytes: int = 1) -> Record:
    return Record(TOPIC, 0, offset, key, b"x" * value_bytes, {POSITION_HEADER: f"1:1:{minor}".encode()}, 0)


def test_the_newest_record_of_each_wanted_key_is_found_by_its_place() -> None:
    records = [record(3, 7), record(4, 9), record(5, 8), record(6, 99, b'{"id":"V"}'), record(7, 99, b"no JSON")]
    assert newest_places(records, WANTED) == {(TOPIC, '{"id":"W"}'): (RawRef(TOPIC, 0, 4), Position(1, 1, 9))}


def test_of_two_records_with_one_position_the_later_one_counts() -> None:
    places = newest_places([record(3, 7), record(4, 7)], WANTED)
    assert [raw.offset for raw, _ in places.values()] == [4]


def test_records_that_were_read_are_not_kept_in_memory() -> None:
    value_bytes, count = 2**20, 32

    def records() -> Iterator[Record]:
        for offset in range(count):
            yield record(offset, offset, value_bytes=value_bytes)

    tracemalloc.start()
    try:
        places = newest_places(records(), WANTED)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [raw.offset for raw, _ in places.values()] == [count - 1]
    assert peak_bytes < 4 * value_bytes
