"""Every handling mode of Debezium, by type: Postgres' text becomes the JSON that Debezium writes."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.event_form import EventForm, debezium_defaults
from sluice.cdc.values.java_order import java_order, string_hash
from sluice.cdc.values.writer import inline_of
from sluice.generated_code import run_generated

DEBEZIUM = debezium_defaults()
HSTORE, VECTOR, SPARSE, GEOMETRY = 20_001, 20_002, 20_003, 20_004
TYPES = {
    1007: PgType(1007, element=23),
    1231: PgType(1231, element=1700),
    HSTORE: PgType(HSTORE, name="hstore"),
    VECTOR: PgType(VECTOR, name="vector"),
    SPARSE: PgType(SPARSE, name="sparsevec"),
    GEOMETRY: PgType(GEOMETRY, name="geometry"),
}
NUMERIC_10_2 = (10 << 16 | 2) + 4
NUMERIC_3_MINUS_2 = (3 << 16 | (-2 & 0x7FF)) + 4
MOVED_WKB = "0101000020E6100000000000000000F03F0000000000000040"


def form(**members: Any) -> EventForm:
    return replace(DEBEZIUM, **members)


EXACT = form(exact=True)
STRING, DOUBLE = form(decimals="string"), form(decimals="double")
ISO = form(times="isostring")

CASES = [
    # numbers
    (DEBEZIUM, 1700, NUMERIC_10_2, "12.34", '"BNI="'),
    (DEBEZIUM, 1700, NUMERIC_10_2, "-0.01", '"/w=="'),
    (DEBEZIUM, 1700, NUMERIC_10_2, "-1.28", '"gA=="'),
    (DEBEZIUM, 1700, NUMERIC_10_2, "0.00", '"AA=="'),
    (DEBEZIUM, 1700, NUMERIC_3_MINUS_2, "12300", '"ew=="'),
    (DEBEZIUM, 1700, -1, "12.3400", '{"scale":2,"value":"BNI="}'),
    (DEBEZIUM, 1700, -1, "100", '{"scale":0,"value":"ZA=="}'),
    (EXACT, 1700, NUMERIC_10_2, "NaN", "null"),
    (STRING, 1700, NUMERIC_10_2, "12.30", '"12.30"'),
    (STRING, 1700, -1, "-Infinity", '"-Infinity"'),
    (replace(STRING, exact=True), 1700, -1, "-Infinity", '"NEGATIVE_INFINITY"'),
    (DOUBLE, 1700, NUMERIC_10_2, "12.30", "12.3"),
    (DOUBLE, 1700, -1, "NaN", '"NaN"'),
    (DOUBLE, 1700, -1, "Infinity", '"Infinity"'),
    (DEBEZIUM, 790, -1, "-$1,234.50", '"/h3G"'),
    (form(money_digits=0), 790, -1, "$2.50", '"Aw=="'),
    (STRING, 790, -1, "($1,234.50)", '"-1234.50"'),
    (DOUBLE, 790, -1, "$0.50", "0.5"),
    # dates and times
    (ISO, 1082, -1, "2024-01-31", '"2024-01-31Z"'),
    (ISO, 1082, -1, "0044-03-15 BC", '"-0043-03-15Z"'),
    (ISO, 1082, -1, "infinity", '"infinity"'),
    (DEBEZIUM, 1082, -1, "infinity", "2147483647"),
    (EXACT, 1082, -1, "infinity", "2146033979"),
    (DEBEZIUM, 1083, 3, "00:00:01.5", "1500"),
    (form(times="adaptive_time_microseconds"), 1083, 3, "00:00:01.5", "1500000"),
    (form(times="microseconds"), 1083, 0, "00:00:01", "1000000"),
    (form(times="nanoseconds"), 1083, -1, "00:00:01.5", "1500000000"),
    (form(times="connect"), 1083, -1, "00:00:01.5678", "1567"),
    (ISO, 1083, -1, "00:00:01.500", '"00:00:01.5Z"'),
    (ISO, 1083, -1, "24:00:00", '"24:00:00Z"'),
    (form(times="isostring", exact=True), 1083, -1, "24:00:00", '"00:00:00Z"'),
    (form(times="adaptive_time_microseconds"), 1114, 3, "1970-01-01 00:00:01.5", "1500"),
    (form(times="microseconds"), 1114, 0, "1970-01-01 00:00:01", "1000000"),
    (form(times="nanoseconds"), 1114, 0, "1970-01-01 00:00:01", "1000000000"),
    (form(times="nanoseconds"), 1114, -1, "infinity", "9223372036854775807"),
    (form(times="nanoseconds", exact=True), 1114, -1, "2300-01-01 00:00:00", "null"),
    (form(times="connect"), 1114, -1, "1969-12-31 23:59:59.9995", "-1"),
    (ISO, 1114, -1, "2024-01-31 10:00:00.120", '"2024-01-31T10:00:00.12Z"'),
    (ISO, 1114, -1, "0044-03-15 10:00:00 BC", '"-0043-03-15T10:00:00Z"'),
    (ISO, 1114, -1, "-infinity", '"-infinity"'),
    (form(times="isostring", exact=True), 1114, -1, "infinity", '"+292278994-08-16T23:00:00Z"'),
    (EXACT, 1114, 3, "infinity", "9223372036825200000"),
    (EXACT, 1114, -1, "infinity", "9223372036854775807"),
    (EXACT, 1114, -1, "294276-12-31 23:59:59.999999", "-9223372036853775810"),
    (EXACT, 1114, -1, "0044-03-15 10:00:00.5 BC", "-63517787999500000"),
    (DEBEZIUM, 1184, -1, "2024-01-31 10:00:00.5+00", '"2024-01-31T10:00:00.500000Z"'),
    (DEBEZIUM, 1266, -1, "13:00:00.50+02", '"13:00:00.5+02:00"'),
    (DEBEZIUM, 1266, -1, "13:00:00+00", '"13:00:00Z"'),
    (DEBEZIUM, 1266, -1, "13:00:00-03:30", '"13:00:00-03:30"'),
    (EXACT, 1266, -1, "01:00:00.5+02", '"23:00:00.5Z"'),
    (EXACT, 1266, -1, "13:00:00-03:30", '"16:30:00Z"'),
    (EXACT, 1266, -1, "24:00:00+00", '"24:00:00Z"'),
    (EXACT, 1266, -1, "24:00:00+02", '"22:00:00Z"'),
    (EXACT, 1266, -1, "10:00:00+05:30:15", "null"),
    # intervals
    (DEBEZIUM, 1186, -1, "1 year 2 mons -3 days +04:05:06.789", "36572706789000"),
    (DEBEZIUM, 1186, -1, "-00:00:01.5", "-1500000"),
    (EXACT, 1186, -1, "1 mon", "2629800000000"),
    (EXACT, 1186, -1, "infinity", "0"),
    (EXACT, 1186, -1, "178000000 years", "9223372036854775807"),
    (DEBEZIUM, 1186, -1, "-infinity", "-9223372036854775808"),
    (form(intervals="string"), 1186, -1, "1 year 2 mons -3 days +04:05:06.789", '"P1Y2M-3DT4H5M6.789S"'),
    (form(intervals="string"), 1186, -1, "-00:00:01.5", '"P0Y0M0DT0H0M-1.5S"'),
    (form(intervals="string"), 1186, -1, "00:00:00", '"P0Y0M0DT0H0M0S"'),
    (form(intervals="postgres"), 1186, -1, "1 mon", '"1 mon"'),
    # binaries
    (DEBEZIUM, 17, -1, "\\xfbff", '"+/8="'),
    (form(binaries="base64-url-safe"), 17, -1, "\\xfbff", '"-_8="'),
    (form(binaries="hex"), 17, -1, "\\xfbff", '"fbff"'),
    (DEBEZIUM, 1560, 1, "1", "true"),
    (DEBEZIUM, 1560, 10, "1000000001", '"AQI="'),
    (DEBEZIUM, 1562, -1, "0000", '""'),
    # texts that contain more
    (DEBEZIUM, HSTORE, -1, '"a\\"b"=>"1", "n"=>NULL', '"{\\"a\\\\\\"b\\":\\"1\\",\\"n\\":null}"'),
    (form(hstores="map"), HSTORE, -1, '"a"=>"1", "n"=>NULL', '{"a":"1","n":null}'),
    (form(hstores="postgres"), HSTORE, -1, '"a"=>"1"', '"\\"a\\"=>\\"1\\""'),
    (DEBEZIUM, VECTOR, -1, "[1,2.5]", "[1.0,2.5]"),
    (DEBEZIUM, SPARSE, -1, "{1:0.5,3:2}/5", '{"dimensions":5,"vector":[[1,0.5],[3,2.0]]}'),
    (DEBEZIUM, SPARSE, -1, "{}/5", '{"dimensions":5,"vector":[]}'),
    # shapes
    (DEBEZIUM, 600, -1, "(1,2)", '{"x":1.0,"y":2.0,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAABA","srid":null}'),
    (DEBEZIUM, 628, -1, "{1,-1,0}", '{"a":1.0,"b":-1.0,"c":0.0}'),
    (
        DEBEZIUM,
        718,
        -1,
        "<(1,2),3>",
        '{"center":{"x":1.0,"y":2.0,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAABA","srid":null},"radius":3.0}',
    ),
    (
        DEBEZIUM,
        601,
        -1,
        "[(1,2),(1,2)]",
        '{"wkb":"AQIAAAACAAAAAAAAAAAA8D8AAAAAAAAAQAAAAAAAAPA/AAAAAAAAAEA=","srid":null,"extensions":{"type":"lseg"}}',
    ),
    (DEBEZIUM, GEOMETRY, -1, MOVED_WKB, '{"wkb":"AQEAACDmEAAAAAAAAAAA8D8AAAAAAAAAQA==","srid":4326,"extensions":null}'),
    # arrays
    (DEBEZIUM, 1231, NUMERIC_10_2, "{12.34,NULL}", '["BNI=",null]'),
    (DEBEZIUM, 1007, -1, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
    (EXACT, 1007, -1, "{{1,2},{3,4}}", "[null,null]"),
]


@pytest.mark.parametrize(("of", "oid", "typmod", "text", "expected"), CASES)
def test_a_value_has_the_form_of_its_mode(of: EventForm, oid: int, typmod: int, text: str, expected: str) -> None:
    writer = json_writer(TYPES, oid, typmod, of)
    assert writer(text.encode()).decode() == expected
    inline = inline_of(writer)
    if inline:
        code = f"def write(t):\n    return {inline.code}\n".replace("$", "t")
        assert run_generated(code, "<inline>", {**inline.names})["write"](text.encode()).decode() == expected


def test_a_value_that_the_mode_cannot_express_is_left_to_the_caller() -> None:
    for of, oid, text in ((DEBEZIUM, 1700, b"NaN"), (form(times="nanoseconds"), 1114, b"2300-01-01 00:00:00")):
        with pytest.raises(ValueError, match=r"NaN|64 bits"):
            json_writer(TYPES, oid, NUMERIC_10_2 if oid == 1700 else -1, of)(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**30), max_value=10**30))
def test_the_bytes_of_a_precise_number_are_its_unscaled_value(number: Decimal) -> None:
    text = f"{number:f}".encode()
    written = orjson.loads(json_writer({}, 1700, (34 << 16 | 4) + 4, DEBEZIUM)(text))
    assert int.from_bytes(b64decode(written), "big", signed=True) == int(text.replace(b".", b""))
    struct = orjson.loads(json_writer({}, 1700, -1, DEBEZIUM)(text))
    unscaled = int.from_bytes(b64decode(struct["value"]), "big", signed=True)
    assert unscaled * 10 ** (4 - struct["scale"]) == int(text.replace(b".", b""))


def test_a_number_of_any_length_is_written() -> None:
    text = b"1" * 100_000 + b".5"
    struct = orjson.loads(json_writer({}, 1700, -1, DEBEZIUM)(text))
    assert len(b64decode(struct["value"])) == 41_525


def test_entries_have_the_order_of_a_java_hash_map() -> None:
    assert string_hash("hello") == 99_162_322
    assert java_order(["b", "a", "key17", "Zürich"], string_hash) == ["a", "b", "key17", "Zürich"]
