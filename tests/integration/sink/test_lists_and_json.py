"""Lists and JSON values in a golden table: stored, queried with SQL, and read back as they were claimed."""

from typing import Any

import pytest

from sluice.golden.columns import GoldenTable
from sluice.golden.rows import GoldenReader, connect_to_read
from sluice.provenance import CanonicalRecord
from support.lists import EMPTY, FIELDS, Listed
from support.sink import TOPIC, packed, rows, store, write

LISTED = GoldenTable("golden", Listed.contract())


def _record(fields: dict[str, Any]) -> CanonicalRecord:
    return CanonicalRecord(fields, 1, 1_704_067_200_000_001, [], [])


@pytest.mark.parametrize("fields", [FIELDS, EMPTY], ids=["filled", "empty"])
def test_stored_values_are_read_back_as_they_were_claimed(postgres_dsn: str, fields: dict[str, Any]) -> None:
    sink = store(postgres_dsn, LISTED)
    number = fields["number"]
    write(sink, sink.lease(TOPIC, 0, "id"), [packed(LISTED, number, _record(fields))])
    with connect_to_read(postgres_dsn, "sink warehouse") as connection:
        found = GoldenReader(connection, LISTED).row(number)
    assert found is not None
    assert found.fields == fields


def test_arrays_and_jsonb_are_queried_as_such(postgres_dsn: str) -> None:
    sink = store(postgres_dsn, LISTED)
    write(sink, sink.lease(TOPIC, 0, "id"), [packed(LISTED, "N-1", _record(FIELDS))])
    query = "SELECT prices[1]::text, about #>> '{c,e}', 'Zoë' = ANY(tags) FROM golden.listed WHERE flags[1]"
    assert rows(postgres_dsn, query) == [("1.50", "100", True)]
