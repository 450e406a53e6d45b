"""Postgres' text becomes the JSON that Debezium writes."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cdc.column_json import PgType, days_since_1970, json_writer

INT4, INT8, TEXT, BOOL, NUMERIC, FLOAT8, BYTEA, UUID = 23, 20, 25, 16, 1700, 701, 17, 2950
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, JSONB, INTERVAL = 1082, 1083, 1114, 1184, 3802, 1186
TYPES = {
    1007: PgType(1007, element=INT4),
    1009: PgType(1009, element=TEXT),
    1231: PgType(1231, element=NUMERIC),
    1115: PgType(1115, element=TIMESTAMP),
    20_000: PgType(20_000, base=NUMERIC, base_typmod=655_366),
    20_001: PgType(20_001, base=1007),
}


@pytest.mark.parametrize(
    ("oid", "typmod", "text", "expected"),
    [
        (BOOL, -1, "t", "true"),
        (BOOL, -1, "f", "false"),
        (INT4, -1, "-17", "-17"),
        (INT8, -1, "9223372036854775807", "9223372036854775807"),
        (NUMERIC, -1, "123456789012345678901234567890.100", '"123456789012345678901234567890.100"'),
        (NUMERIC, -1, "NaN", '"NaN"'),
        (NUMERIC, -1, "-Infinity", '"-Infinity"'),
        (FLOAT8, -1, "1.5", "1.5"),
        (FLOAT8, -1, "1e+20", "1e+20"),
        (FLOAT8, -1, "100", "100.0"),
        (FLOAT8, -1, "-0", "-0.0"),
        (FLOAT8, -1, "NaN", '"NaN"'),
        (FLOAT8, -1, "Infinity", '"Infinity"'),
        (FLOAT8, -1, "-Infinity", '"-Infinity"'),
        (TEXT, -1, 'a "quoted"\n\u0001 é', '"a \\"quoted\\"\\n\\u0001 é"'),
        (UUID, -1, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
        (BYTEA, -1, "\\x00ff10", '"AP8Q"'),
        (BYTEA, -1, "\\x", '""'),
        (DATE, -1, "1970-01-02", "1"),
        (DATE, -1, "0044-03-15 BC", "-735160"),
        (DATE, -1, "12024-02-29", "3672207"),
        (DATE, -1, "infinity", "2147483647"),
        (DATE, -1, "-infinity", "-2147483648"),
        (TIME, -1, "13:51:30", "49890000000"),
        (TIME, -1, "00:00:00.000001", "1"),
        (TIME, 3, "00:00:01.5", "1500"),
        (TIME, -1, "24:00:00", "86400000000"),
        (TIMESTAMP, -1, "1970-01-01 00:00:01", "1000000"),
        (TIMESTAMP, -1, "1969-12-31 23:59:59.999999", "-1"),
        (TIMESTAMP, 3, "1970-01-01 00:00:01.234", "1234"),
        (TIMESTAMP, 0, "1969-12-31 23:59:59", "-1000"),
        (TIMESTAMP, 6, "1970-01-01 00:00:00.5", "500000"),
        (TIMESTAMP, -1, "infinity", "9223372036825200000"),
        (TIMESTAMP, -1, "-infinity", "-9223372036832400000"),
        (TIMESTAMPTZ, -1, "2024-01-31 10:00:00+00", '"2024-01-31T10:00:00.000000Z"'),
        (TIMESTAMPTZ, -1, "2024-01-31 10:00:00.123+00", '"2024-01-31T10:00:00.123000Z"'),
        (TIMESTAMPTZ, 0, "2024-01-31 10:00:00+00", '"2024-01-31T10:00:00Z"'),
        (TIMESTAMPTZ, 3, "2024-01-31 10:00:00.5+00", '"2024-01-31T10:00:00.500Z"'),
        (TIMESTAMPTZ, -1, "0044-03-15 10:00:00+00 BC", '"-0043-03-15T10:00:00.000000Z"'),
        (TIMESTAMPTZ, -1, "12024-01-31 10:00:00+00", '"+12024-01-31T10:00:00.000000Z"'),
        (TIMESTAMPTZ, -1, "infinity", '"infinity"'),
        (JSONB, -1, '{"a": 1}', '"{\\"a\\": 1}"'),
        (INTERVAL, -1, "1 day 02:00:00", '"1 day 02:00:00"'),
        (99_999, -1, "an enum's label", '"an enum\'s label"'),
        (1007, -1, "{1,NULL,3}", "[1,null,3]"),
        (1007, -1, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (1007, -1, "[0:1]={7,8}", "[7,8]"),
        (1007, -1, "{}", "[]"),
        (
            1009,
            -1,
            '{plain,"a, b","say \\"hi\\" \\\\","",NULL,"NULL"}',
            '["plain","a, b","say \\"hi\\" \\\\","",null,"NULL"]',
        ),
        (1231, -1, "{1.10,NaN}", '["1.10","NaN"]'),
        (1115, -1, '{"1970-01-01 00:00:01"}', "[1000000]"),
        (20_000, -1, "1.50", '"1.50"'),
        (20_001, -1, "{1}", "[1]"),
    ],
)
def test_a_value_is_spelled_as_debezium_spells_it(oid: int, typmod: int, text: str, expected: str) -> None:
    assert json_writer(TYPES, oid, typmod)(text.encode()).decode() == expected


@given(st.dates())
def test_days_agree_with_the_calendar_of_python(day: date) -> None:
    assert days_since_1970(day.isoformat().encode()) == (day - date(1970, 1, 1)).days


@given(st.datetimes(), st.booleans())
def test_timestamps_agree_with_the_clock_of_python(moment: datetime, in_an_array: bool) -> None:
    text = moment.isoformat(" ")
    writer = json_writer(TYPES, 1115 if in_an_array else TIMESTAMP, -1)
    written = orjson.loads(writer(f'{{"{text}"}}'.encode() if in_an_array else text.encode()))
    expected = (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    assert written == ([expected] if in_an_array else expected)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", codec="utf-8")))))
def test_any_text_array_survives_quoting(items: list[str | None]) -> None:
    quoted = ("NULL" if i is None else '"' + i.replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items)
    written = json_writer(TYPES, 1009, -1)(("{" + ",".join(quoted) + "}").encode())
    assert orjson.loads(written) == items
