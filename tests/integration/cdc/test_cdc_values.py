"""A value of every type is the same from the snapshot and from the stream, and as Debezium writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluice.cdc.watermarks import FOLLOWED
from support.cdc import Source, make_source
from support.cdc_commands import resnapshot
from support.waiting import eventually

COLUMNS = {
    "flag": ("boolean", "true", True),
    "small": ("smallint", "-5", -5),
    "big": ("bigint", "9223372036854775807", 9223372036854775807),
    "amount": ("numeric(12,4)", "1234.5", "1234.5000"),
    "free_amount": ("numeric", "'NaN'", "NaN"),
    "ratio": ("double precision", "0.1", 0.1),
    "endless": ("real", "'Infinity'", "Infinity"),
    "label": ("varchar(40)", "E'a \"b\" \\\\ é \\n'", 'a "b" \\ é \n'),
    "padded": ("char(3)", "'x'", "x  "),
    "birthday": ("date", "'1990-01-31'", 7335),
    "antique": ("date", "'0044-03-15 BC'", -735160),
    "at_time": ("time", "'10:00:00.5'", 36_000_500_000),
    "at_time_ms": ("time(3)", "'10:00:00.5'", 36_000_500),
    "at": ("timestamp", "'2024-01-31 10:00:00.123456'", 1_706_695_200_123_456),
    "at_ms": ("timestamp(3)", "'2024-01-31 10:00:00.123'", 1_706_695_200_123),
    "moment": ("timestamptz", "'2024-01-31 10:00:00.5+02'", "2024-01-31T08:00:00.500000Z"),
    "never": ("timestamptz", "'infinity'", "infinity"),
    "bytes": ("bytea", "'\\x00ff10'", "AP8Q"),
    "tag": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "document": ("jsonb", '\'{"b": 1, "a": [1.10]}\'', '{"a": [1.10], "b": 1}'),
    "numbers": ("int[]", "'{1,NULL,3}'", [1, None, 3]),
    "grid": ("int[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]),
    "words": ("text[]", "ARRAY['a,b', 'c\"d', NULL, '']", ["a,b", 'c"d', None, ""]),
    "moments": ("timestamptz[]", "ARRAY['2024-01-31 10:00+00'::timestamptz]", ["2024-01-31T10:00:00.000000Z"]),
    "mood": ("mood", "'so so'", "so so"),
    "moods": ("mood[]", "'{good,NULL}'", ["good", None]),
    "percent": ("percent", "99.5", "99.50"),
    "address": ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    "span": ("int4range", "'[1,5)'", "[1,5)"),
    "during": ("interval", "'1 day 2 hours'", "1 day 02:00:00"),
    "nothing": ("text", "NULL", None),
}


@pytest.fixture
def many(postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["many"])
    source.sql("CREATE TYPE mood AS ENUM ('good', 'so so'); CREATE DOMAIN percent AS numeric(5,2)")
    columns = ", ".join(f'"{name}" {column[0]}' for name, column in COLUMNS.items())
    source.sql(f"CREATE TABLE many (id int PRIMARY KEY, {columns})")
    return source


def insert(source: Source, key: int) -> None:
    values = ", ".join(column[1] for column in COLUMNS.values())
    source.sql(f"INSERT INTO many VALUES ({key}, {values})")


def test_a_value_of_every_type_is_the_same_from_snapshot_and_stream(many: Source) -> None:
    insert(many, 1)
    with many.followed() as running:
        running.await_streaming()
        insert(many, 2)
        # A type that is created while the slot is followed is read from the catalogs at its first column.
        many.sql("CREATE DOMAIN grade AS int; ALTER TABLE many ADD COLUMN grade grade DEFAULT 3")
        insert(many, 3)
        many.published_up_to(many.wal_lsn())
    rows: dict[Any, dict[str, Any]] = {row.pop("id"): row for row in many.rows("many").values()}
    expected = {name: column[2] for name, column in COLUMNS.items()}
    assert rows[1] == expected
    assert rows[2] == expected
    assert rows[3] == {**expected, "grade": 3}


def test_generated_columns_are_left_out_of_both(many: Source) -> None:
    many.sql("ALTER TABLE many ADD COLUMN twice int GENERATED ALWAYS AS (small * 2) STORED")
    insert(many, 1)
    with many.followed() as running:
        running.await_streaming()
        insert(many, 2)
        many.published_up_to(many.wal_lsn())
    first, second = many.rows("many").values()
    assert first.keys() == second.keys()
    assert "twice" not in first


def test_a_change_too_large_for_its_topic_is_parked_and_the_others_go_on(many: Source) -> None:
    with many.followed(record_bytes_max=50_000) as running:
        running.await_streaming()
        many.sql("INSERT INTO many (id, nothing) VALUES (1, repeat('secret ', 20000)), (2, 'small')")
        many.published_up_to(many.wal_lsn())
        assert "a row is larger than a raw topic takes" in running.await_fault("table public.many is followed")
        resnapshot(many, "--table", "public.many")
        eventually(lambda: many.mark("many").request == 1 and many.mark("many").state == FOLLOWED, "it is read again")
        running.await_fault("a row is larger")
    raw = {record.key: record for record in many.raw("many") if not record.is_sweep}
    assert raw[b'{"id":2}'].body["after"]["nothing"] == "small"
    _, letter = many.dead_letters()  # one of the change, one of the snapshot
    assert letter.key == b'{"id":1}'
    assert raw[b'{"id":1}'].body == {"truncated_bytes": int(letter.headers["sluice-truncated-bytes"])}
    assert int(letter.headers["sluice-truncated-bytes"]) > 140_000
    assert not [name for name, value in letter.headers.items() if b"secret" in value]
