"""The generated code for a table writes the same bytes as the slow methods, for every kind of change and every form."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.cdc.debezium import ChangeEvent, EventSource, NoRow, TableEvents, TransactionInfo
from sluice.cdc.event_form import DEFAULT_FORM, ColumnRules, EventForm, debezium_defaults
from sluice.cdc.pgoutput import UNCHANGED, Delete, Insert, Row, Update, Value
from support import pgoutput_wire as wire

SOURCE = EventSource("0.1.0", "raw.erp", "erp%db")
MOMENT = TransactionInfo(1_700_000_000_123_456, 750, 90)
BLOCK = b'{"id":"750:95","total_order":1,"data_collection_order":1}'
COLUMNS = [("id", 20), ("na%me", 25), ("amount", 1700), ("hired", 1082), ("at", 1114), ("moment", 1184), ("ok", 16)]
DEBEZIUM = debezium_defaults()
FORMS = [
    DEFAULT_FORM,
    DEBEZIUM,
    replace(DEBEZIUM, exact=True),
    replace(DEBEZIUM, decimals="double", times="isostring"),
    replace(DEBEZIUM, decimals="string", times="connect", tombstones=False),
    replace(DEFAULT_FORM, times="nanoseconds"),
]

numbers = st.integers(-10, 10).map(lambda i: b"%d" % i)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300).map(str.encode)
decimals = st.decimals(-(10**6), 10**6, places=2).map(lambda d: f"{d:f}".encode()) | st.just(b"NaN")
dates = st.dates().map(lambda d: d.isoformat().encode()) | st.sampled_from([b"infinity", b"0044-03-15 BC"])
moments = st.datetimes().map(lambda d: d.isoformat(" ").encode()) | st.sampled_from(
    [b"infinity", b"12024-01-31 10:00:00.12345", b"0044-03-15 10:00:00.12 BC", b"unreadable"]
)
booleans = st.sampled_from([b"t", b"f"])
UTC = moments.map(lambda text: text if b"i" in text or b"B" in text else text + b"+00")
VALUES = (texts, decimals, dates, moments, UTC, booleans)


def rows(*others: Value) -> st.SearchStrategy[Row]:
    """Rows of readable and unreadable values, or of `others`."""
    return st.tuples(numbers, *(v | st.sampled_from(others) if others else v for v in VALUES)).map(list)


def events(form: EventForm, identity: str = "d", rules: ColumnRules = ColumnRules(), oid: int = 7) -> TableEvents:  # noqa: B008
    relation = wire.table(oid, "employee", COLUMNS, ["id"], identity)
    return TableEvents(SOURCE, relation, ["id"], {}, form=form, rules=rules)


def not_reread(table: TableEvents, key: object) -> NoRow:
    return NoRow.UNREADABLE


def readable(table: TableEvents, row: Row) -> bool:
    """Whether the writers can read all values of the row."""
    try:
        return all(c.write(v) is not None for c, v in zip(table.columns, row, strict=True) if isinstance(v, bytes))
    except Exception:
        return False


def compare(table: TableEvents, message: bytes, slow: list[ChangeEvent], *rows: Row) -> None:
    """The fast way gives the first event of the slow way, and gives up only on a value that is unreadable or absent."""
    written = table.encode(message, MOMENT, 95, BLOCK)
    assert written == (slow[0].key, slow[0].value) or written is None
    if all(readable(table, row) and UNCHANGED not in row for row in rows):
        assert written is not None


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(row=st.one_of(rows(), rows(None), rows(None, UNCHANGED)), is_insert=st.booleans())
def test_a_new_row_is_written_the_same(form: EventForm, row: Row, is_insert: bool) -> None:
    table = events(form)
    if is_insert:
        compare(table, wire.insert(7, row), table.inserted(Insert(7, row), MOMENT, 95, lambda: BLOCK), row)
    else:
        slow = table.updated(Update(7, "", [], row), MOMENT, 95, not_reread, lambda: BLOCK)
        compare(table, wire.update(7, row), slow, row)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(old=st.one_of(rows(), rows(None)), new=st.one_of(rows(), rows(None), rows(UNCHANGED)), keep=st.booleans())
def test_an_update_with_its_old_row_is_written_the_same(form: EventForm, old: Row, new: Row, keep: bool) -> None:
    table = events(form, "f")
    new = [old[0], *new[1:]] if keep else new
    slow = table.updated(Update(7, "O", old, new), MOMENT, 95, not_reread, lambda: BLOCK)
    message = wire.update(7, new, old, "O")
    if old[0] != new[0]:
        assert table.encode(message, MOMENT, 95, BLOCK) is None
    else:
        compare(table, message, slow, old, [o if n is UNCHANGED else n for o, n in zip(old, new, strict=True)])


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30)
@given(old=st.one_of(rows(), rows(None)), whole=st.booleans())
def test_a_delete_is_written_the_same(form: EventForm, old: Row, whole: bool) -> None:
    table, kind = events(form, "f" if whole else "d"), "O" if whole else "K"
    old = old if whole else [old[0], *[None] * (len(old) - 1)]
    slow = table.deleted(Delete(7, kind, old), MOMENT, 95, lambda: BLOCK)
    compare(table, wire.delete(7, old, kind), slow, old)
    assert len(slow) == 1 + form.tombstones


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60)
@given(copied=st.lists(st.one_of(rows(), rows(None)), max_size=3))
def test_a_line_of_copy_is_written_the_same(form: EventForm, copied: list[Row]) -> None:
    table = events(form)
    moment = MOMENT._replace(snapshot="first")
    written = table.copied_rows([line(row) for row in copied], moment, 95)
    slow = [table.snapshot_row(row, moment, 95) for row in copied]
    assert [(key, without_time(value)) for key, value in written] == [(e.key, without_time(e.value)) for e in slow]


def line(row: Row) -> bytes:
    escapes = str.maketrans(
        {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
    )
    return b"\t".join(v.decode().translate(escapes).encode() if isinstance(v, bytes) else b"\\N" for v in row)


def without_time(value: bytes | None) -> bytes:
    assert value is not None
    return value[: value.rindex(b'"ts_ms"')]


def test_rows_of_an_incremental_snapshot_have_no_lsn() -> None:
    [(_, value)] = events(DEBEZIUM).copied_rows([b"1" + b"\t\\N" * 6], MOMENT._replace(snapshot="incremental"), 95)
    source = orjson.loads(value)["source"]
    assert (source["snapshot"], source["lsn"], source["sequence"]) == ("incremental", None, '["90","95"]')


def test_a_table_whose_oid_looks_like_a_value_is_read_column_by_column() -> None:
    oid = int.from_bytes(b"t\0\0\0", "big")
    table = events(DEFAULT_FORM, oid=oid)
    row: Row = [b"1", b"x", None, b"2024-01-31", None, None, b"t"]
    (slow,) = table.inserted(Insert(oid, row), MOMENT, 95)
    assert table.encode(wire.insert(oid, row), MOMENT, 95) == (slow.key, slow.value)


def test_a_column_that_is_left_out_is_in_no_event() -> None:
    table = events(DEFAULT_FORM, "f", ColumnRules(left_out=frozenset({"na%me", "ok"}), key=("id", "hired")))
    row: Row = [b"1", b"secret", b"1", b"1970-01-02", None, None, b"t"]
    lines = table.copied_rows([b"1\tsecret\t1\t1970-01-02\t\\N\t\\N\tt"], MOMENT, 95)
    written = [
        table.encode(wire.insert(7, row), MOMENT, 95),
        table.encode(wire.delete(7, row, "O"), MOMENT, 95),
        table.encode(wire.update(7, row, row, "O"), MOMENT, 95),
        *lines,
    ]
    for event in written:
        assert event is not None
        key, value = event
        assert key == b'{"id":1,"hired":1}'
        body = orjson.loads(value)
        assert b"secret" not in value
        assert [*(body["after"] or body["before"])] == ["id", "amount", "hired", "at", "moment"]


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_message_that_is_too_short_is_not_published(cut: int) -> None:
    message = wire.insert(7, [b"1", b"x", b"1", b"2024-01-31", b"2024-01-31 10:00:00", b"2024-01-31 10:00:00+00", b"t"])
    assert events(DEFAULT_FORM).encode(message[:-cut], MOMENT, 95) is None
