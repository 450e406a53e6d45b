"""The JSON policy: records verbatim, whole numbers exact, anything that is not JSON refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.connector import Missing, NotJson, decode
from sluice.connector.record import SourceRecord, UnreadableKey, source_key
from sluice.json_text import Path, member, slices

LONG = b"123456789012345678901234567890"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_records_are_cut_out_as_the_source_sent_them() -> None:
    page = b'{"data": [ {"id" : 1,  "pay":1.10e2} ,\n{"id":2}, "x" ], "links":{}}'
    assert slices(page, "data") == [b'{"id" : 1,  "pay":1.10e2}', b'{"id":2}', b'"x"']


def test_a_number_of_thirty_digits_stays_exact() -> None:
    assert decode(LONG) == int(LONG)
    assert slices(b'{"data":[{"id":' + LONG + b"}]}", "data") == [b'{"id":' + LONG + b"}"]
    assert source_key(SourceRecord(b'{"id":' + LONG + b"}"), ("id",)) == b'{"id":' + LONG + b"}"


@pytest.mark.parametrize("number", [b"1e99999999999999999999", b"1e9999999", b"-1.5E-9999999"])
def test_a_number_that_would_fill_the_memory_when_it_is_written_out_is_refused(number: bytes) -> None:
    with pytest.raises(NotJson):
        decode(b'{"id":' + number + b"}")
    page = b'{"data":[{"id":"\\ud83d","pay":' + number + b'},{"id":2}]}'
    assert len(slices(page, "data")) == 2


def test_a_number_beyond_every_float_is_exact() -> None:
    assert decode(b"1.5e400") == Decimal("1.5e400")


def test_a_number_with_a_point_is_a_decimal() -> None:
    assert decode(b"1.10") == Decimal("1.10")
    assert isinstance(decode(b"1.10"), Decimal)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>login</html>",
        b'{"data":[{"id":1},{"id"',
        b'{"data":[{"id":1}]',
        b'{"data":[NaN]}',
        b'{"data":[1]} trailing',
        b'{"data":{"id":1}}',
        b"[1]",
        b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"data":["a\nb"]}',
        b'{"data":[1,]}',
    ],
)
def test_a_page_that_is_not_the_json_expected_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson) as refusal:
        slices(body, "data")
    assert "login" not in str(refusal.value)


def test_a_page_without_its_records_is_refused() -> None:
    with pytest.raises(Missing):
        slices(b'{"error":"slow down"}', "data.items")


def test_half_a_character_pair_does_not_spoil_the_page() -> None:
    page = rb'{"data":[{"id":1,"n":"\ud83d"},{"id":2}, {}, []],"next":null}'
    assert slices(page, "data") == [rb'{"id":1,"n":"\ud83d"}', b'{"id":2}', b"{}", b"[]"]
    assert source_key(SourceRecord(rb'{"n":"\ud83d","id":1}'), ("id",)) == b'{"id":1}'


def test_invalid_utf8_in_a_record_is_cut_out_untouched() -> None:
    page = b'{"data":[{"id":1,"n":"\xff"},{"id":2,"n":"\\ud83d"}]}'
    assert slices(page, "data")[0] == b'{"id":1,"n":"\xff"}'
    assert source_key(SourceRecord(b'{"id":1,"n":"\xff"}'), ("id",)) == b'{"id":1}'


@given(st.lists(values, max_size=5), st.integers(0, 4))
def test_slices_are_what_the_standard_library_reads(items: list[Any], indent: int) -> None:
    body = json.dumps({"a": {"b": items}}, indent=indent or None).encode()
    assert [json.loads(item) for item in slices(body, "a.b")] == items


@given(st.lists(values, max_size=5), st.booleans())
def test_the_slow_way_cuts_as_the_fast_one_does(items: list[Any], ascii_only: bool) -> None:
    body = json.dumps({"data": items}, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")
    fast = slices(body, "data")
    slow = slices(body[:-1].rstrip() + rb', "odd": "\ud83d"}', "data")
    assert slow == fast


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        (b'{"a":{"b": {"c":[1]} }}', "a.b", b'{"c":[1]}'),
        (b'{"@odata.nextLink":"u"}', "@odata.nextLink", b'"u"'),
        (b'{"d":{"@odata.nextLink":"u"}}', "d.@odata.nextLink", b'"u"'),
        (b'{"@graph.items":{"next":1}}', "@graph.items.next", b"1"),
        (b'{"links.next":1,"links":{"next":2}}', "links.next", b"1"),
        (b'{"links.next":1,"links":{"next":2}}', ("links", "next"), b"2"),
        (b'{"a.b":{"c":1},"a":{"b.c":2}}', ("a", "b.c"), b"2"),
        (b'{"a.b":{"c":1},"a":{"b.c":2}}', "a.b.c", b"1"),
        (b"[1]", "", b"[1]"),
        (b"[1]", (), b"[1]"),
    ],
)
def test_a_member_is_found_by_its_name_or_by_a_path_and_the_longest_name_counts(
    text: bytes, path: Path, found: bytes
) -> None:
    assert member(text, path) == found


@pytest.mark.parametrize(
    ("text", "path", "why"),
    [
        (b"{}", "links.next", "no member links"),
        (b'{"links":{}}', "links.next", "no member next"),
        (b'{"links":{"next":1}}', ("links.next",), "no member links.next"),
        (b'{"links":null}', "links.next", "no member next"),
        (b'{"a.b":{}}', "a.b.c", "no member c"),
    ],
)
def test_a_member_that_is_not_there_is_named(text: bytes, path: Path, why: str) -> None:
    with pytest.raises(Missing, match=f"^{why}$"):
        member(text, path)


@pytest.mark.parametrize(
    ("record", "fields", "key"),
    [
        (b'{"id":"W-7","x":1}', ("id",), b'{"id":"W-7"}'),
        (b'{"x":1,"b":2,"a":"\xc3\xa9"}', ("a", "b"), b'{"a":"\xc3\xa9","b":2}'),
        (b'{"ids":{"employee":7}}', ("ids.employee",), b'{"ids.employee":7}'),
        (rb'{"id":"a\u0000\"b"}', ("id",), rb'{"id":"a\u0000\"b"}'),
    ],
)
def test_source_keys_are_compact_in_declared_order(record: bytes, fields: tuple[str, ...], key: bytes) -> None:
    assert source_key(SourceRecord(record), fields) == key


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b'{"id":null}',
        b'{"id":""}',
        b'{"id":true}',
        b'{"id":1.5}',
        b'{"id":[1]}',
        b'{"id":"\xff"}',
        rb'{"id":"\ud83d"}',
        b"7",
        b"null",
        b'{"id":{"secret":"value"}}',
    ],
)
def test_a_key_that_cannot_be_read_is_named_by_its_field_only(record: bytes) -> None:
    with pytest.raises(UnreadableKey, match="key field id") as refusal:
        source_key(SourceRecord(record), ("id",))
    assert "value" not in str(refusal.value)
