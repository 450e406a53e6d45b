"""Reading a raw record: any bytes in a raw topic lead to a result or to a dead letter."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.errors import DeadRecord
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.raw import raw_record

AT = Position(1, 1, 1)
NOON = 1_772_366_400_000_000


def record(key: bytes | None, value: bytes | None, timestamp_ms: int = 1_000, **headers: bytes) -> Record:
    return Record("raw.erp.staff", 0, 0, key, value, {"sluice-position": b"1:1:1", **headers}, timestamp_ms)


def changed(source: Any) -> Record:
    return record(b'{"id":1}', orjson.dumps({"op": "u", "source": source, "after": {"id": 1}}))


def polled(time: bytes) -> Record:
    return record(b'{"id":1}', b'{"id":1}', ce_time=time)


def dead(of: Record, read: Any) -> DeadRecord:
    with pytest.raises(DeadRecord) as error:
        read(of, '{"id":1}', AT)
    return error.value


@pytest.mark.parametrize("ts_us", ["abc", "9" * 24, -(2**62), 2**63 - 1, 1.5, [1], {}, True, "17", 253402300800000000])
def test_a_change_whose_time_is_no_time_is_parked_and_not_quoted(ts_us: Any) -> None:
    error = dead(changed({"ts_us": ts_us}), raw_record.read_change)
    assert error.code == "bad-time"
    assert str(ts_us) not in error.reason
    assert dead(changed({"ts_ms": ts_us}), raw_record.read_change).code == "bad-time"


def test_a_change_whose_time_has_thirty_digits_is_parked() -> None:
    value = b'{"op":"d","source":{"ts_us":%b}}' % (b"9" * 30)
    assert dead(record(b'{"id":1}', value), raw_record.read_change).code == "bad-time"


def test_a_change_has_the_time_that_its_source_says() -> None:
    assert raw_record.read_change(changed({"ts_us": NOON, "ts_ms": 1}), "k", AT).observed_at == NOON
    assert raw_record.read_change(changed({"ts_ms": 7}), "k", AT).observed_at == 7_000
    assert raw_record.read_change(changed({"ts_us": -(10**15)}), "k", AT).observed_at == -(10**15)


@pytest.mark.parametrize(
    "time",
    [
        b"0000-01-01T00:00:00Z",
        b"10000-01-01T00:00:00Z",
        b"0001-01-01T00:00:00+14:00",
        b"9999-12-31T23:59:59-14:00",
        b"2026-03-01T12:00:00",
        b"noon",
        b"\xff",
    ],
)
def test_a_polled_record_whose_time_is_out_of_range_or_has_no_offset_is_parked(time: bytes) -> None:
    assert dead(polled(time), raw_record.read_polled).code == "bad-time"


def test_a_polled_record_has_the_time_of_its_header() -> None:
    read = raw_record.read_polled(polled(b"2026-03-01T13:00:00.000001+01:00"), "k", AT)
    assert read.observed_at == NOON + 1


@pytest.mark.parametrize("timestamp_ms", [-(2**62), 2**62])
def test_a_tombstone_written_at_no_possible_time_is_parked(timestamp_ms: int) -> None:
    tombstone = record(b'{"id":1}', None, timestamp_ms)
    assert dead(tombstone, raw_record.read_change).code == "bad-time"
    assert dead(tombstone, raw_record.read_polled).code == "bad-time"


@pytest.mark.parametrize("key", [b'{"$partition":3}', b'{"$sweep":"staff"}', b'{"$'])
def test_a_key_in_the_form_of_our_own_is_no_source_key(key: bytes) -> None:
    with pytest.raises(DeadRecord, match="bad-key"):
        raw_record.source_key(record(key, b"{}"))


def test_a_key_that_is_nested_too_deep_is_no_source_key() -> None:
    key = b'{"schema":1,"payload":{"id":%b%b}}' % (b"[" * 300, b"]" * 300)
    with pytest.raises(DeadRecord, match="bad-key"):
        raw_record.source_key(record(key, b"{}"))


def test_a_number_beyond_the_range_of_decimals_is_not_json() -> None:
    value = b'{"op":"u","source":{"ts_ms":1},"after":{"id":1e99999999999999999999}}'
    assert dead(record(b'{"id":1}', value), raw_record.read_change).code == "not-json"


# ── any bytes ────────────────────────────────────────────────────────────────────────────────────────────────


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(10**25), 10**17, 253402300800000])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["c", "u", "r", "d"]) | ANYTHING,
        "source": st.fixed_dictionaries({}, optional={"ts_us": ANYTHING, "ts_ms": ANYTHING}) | ANYTHING,
        "after": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=2) | ANYTHING,
    },
)
ENVELOPES = MEMBERS | st.fixed_dictionaries({"schema": ANYTHING, "payload": MEMBERS | ANYTHING}) | ANYTHING
HOSTILE = st.binary(max_size=40) | ENVELOPES.map(_json)
HEADERS = st.dictionaries(
    st.sampled_from(["sluice-position", "sluice-op", "ce_time", "sluice-truncated-bytes"]),
    st.binary(max_size=30)
    | st.sampled_from([b"d", b"s", b"1:1:1"])
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}+14:00".encode()),
)


@settings(max_examples=500, deadline=None)
@given(key=st.none() | HOSTILE, value=st.none() | HOSTILE, headers=HEADERS, timestamp_ms=st.integers(-(2**63), 2**63))
def test_any_record_of_a_raw_topic_is_read_or_parked(
    key: bytes | None, value: bytes | None, headers: dict[str, bytes], timestamp_ms: int
) -> None:
    raw = Record("raw.erp.staff", 0, 0, key, value, headers, timestamp_ms)
    for read in (raw_record.read_change, raw_record.read_polled):
        with contextlib.suppress(DeadRecord):
            assert -(2**56) < read(raw, "{}", AT).observed_at < 2**58
    with contextlib.suppress(DeadRecord):
        raw_record.source_key(raw)
    with contextlib.suppress(DeadRecord):
        assert all(part < 2**63 for part in raw_record.position_of(raw))
    with contextlib.suppress(DeadRecord):
        raw_record.swept_at(raw, "staff")


@pytest.mark.parametrize("text", ["1:%b:1", "%b:1:1", "1:1:%b"])
def test_a_part_of_a_position_beyond_64_bits_is_no_position(text: str) -> None:
    header = text.encode() % (b"9" * 40)
    with pytest.raises(DeadRecord, match="bad-position"):
        raw_record.position_of(record(b"{}", b"{}")._replace(headers={"sluice-position": header}))
    with pytest.raises(ValueError, match="position"):
        Position.parse(text.replace("%b", str(2**63)))
    assert max(Position.parse(text.replace("%b", str(2**63 - 1)))) == 2**63 - 1


@given(
    st.text("0123456789:+-_ ,.e\n[]²", max_size=12)
    | st.lists(st.integers(-1, 2**64) | st.sampled_from(["", "01", " 1", "1_0"]), min_size=2, max_size=4).map(
        lambda parts: ":".join(map(str, parts))
    )
)
def test_a_position_in_bytes_is_that_of_its_text(text: str) -> None:
    try:
        expected: Position | None = Position.parse(text)
    except ValueError:
        expected = None
    try:
        assert Position.parse(text.encode()) == expected
    except ValueError:
        assert expected is None


def test_a_sweep_marker_names_the_stream_of_its_topic() -> None:
    marker = record(b'{"$sweep":"staff"}', b"", 7)
    assert raw_record.swept_at(marker, "staff") == 7_000
    for key in (b'{"$sweep":"payroll"}', b'{"$sweep":["staff"]}', b'{"id":1}', b"[1]", b"\xff", None):
        with pytest.raises(DeadRecord, match="bad-sweep"):
            raw_record.swept_at(marker._replace(key=key), "staff")
