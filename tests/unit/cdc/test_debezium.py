"""Row changes become the events that a Debezium consumer reads."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cdc.debezium import UNAVAILABLE, CannotFollow, ChangeEvent, EventSource, NoRow, TableEvents, TransactionInfo
from sluice.cdc.pgoutput import UNCHANGED, Delete, Insert, Row, Update, Value
from sluice.errors import Bug
from sluice.headers import NEW_KEY_HEADER, OLD_KEY_HEADER
from support import pgoutput_wire as wire

SOURCE = EventSource("0.1.0", "raw.erp", "erp%db")
MOMENT = TransactionInfo(1_700_000_000_123_456, 750, 90)
COLUMNS = [("id", 23), ("na%me", 25), ("photo", 25)]


def events(identity: str = "d", key: Sequence[str] = ("id",), reread: Set[str] = frozenset()) -> TableEvents:
    return TableEvents(SOURCE, wire.table(7, "employee", COLUMNS, key, identity), key, {}, reread)


def not_reread(table: TableEvents, key: Sequence[bytes]) -> Row | NoRow:
    raise AssertionError("no row had to be read again")


def body(change: ChangeEvent) -> dict[str, Any]:
    assert change.value is not None
    value = orjson.loads(change.value)
    assert isinstance(value, dict)
    return value


def test_an_insert_is_a_create_with_its_source() -> None:
    (change,) = events().inserted(Insert(7, [b"17", b'A"da', None]), MOMENT, 95)
    assert change.key == b'{"id":17}'
    value = body(change)
    assert value["before"] is None
    assert value["after"] == {"id": 17, "na%me": 'A"da', "photo": None}
    assert value["op"] == "c"
    assert value["transaction"] is None
    assert value["ts_ms"] > 1_700_000_000_000
    assert value["source"] == {
        "version": "0.1.0",
        "connector": "postgresql",
        "name": "raw.erp",
        "db": "erp%db",
        "schema": "public",
        "table": "employee",
        "xmin": None,
        "ts_ms": 1_700_000_000_123,
        "ts_us": 1_700_000_000_123_456,
        "ts_ns": 1_700_000_000_123_456_000,
        "snapshot": "false",
        "txId": 750,
        "lsn": 95,
        "sequence": '["90","95"]',
    }


def test_a_snapshot_row_is_a_read() -> None:
    value = body(events().snapshot_row([b"17", b"Ada", None], TransactionInfo(5, None, None, snapshot="true"), 90))
    assert (value["op"], value["source"]["snapshot"], value["source"]["sequence"]) == ("r", "true", '[null,"90"]')
    assert value["source"]["txId"] is None


def test_an_unchanged_column_is_named_unavailable_and_never_null() -> None:
    (change,) = events().updated(Update(7, "", [], [b"17", b"Ada", UNCHANGED]), MOMENT, 95, not_reread)
    assert body(change)["after"] == {"id": 17, "na%me": "Ada", "photo": UNAVAILABLE}
    assert body(change)["before"] is None


def test_a_full_identity_fills_the_unchanged_column_from_the_old_row() -> None:
    update = Update(7, "O", [b"17", b"Ada", b"pixels"], [b"17", b"Bea", UNCHANGED])
    (change,) = events("f").updated(update, MOMENT, 95, not_reread)
    assert body(change)["before"] == {"id": 17, "na%me": "Ada", "photo": "pixels"}
    assert body(change)["after"] == {"id": 17, "na%me": "Bea", "photo": "pixels"}


def test_the_nulls_of_a_key_tuple_are_never_taken_for_values() -> None:
    # The key column itself was too large to be sent again; the others of a K tuple read null and mean nothing.
    update = Update(7, "K", [b"17", None, None], [UNCHANGED, b"Ada", UNCHANGED])
    (change,) = events().updated(update, MOMENT, 95, not_reread)
    assert change.key == b'{"id":17}'
    assert body(change)["after"] == {"id": 17, "na%me": "Ada", "photo": UNAVAILABLE}


def test_a_delete_is_followed_by_its_tombstone() -> None:
    change, tombstone = events().deleted(Delete(7, "K", [b"17", None, None]), MOMENT, 95)
    assert (body(change)["op"], body(change)["before"], body(change)["after"]) == ("d", {"id": 17}, None)
    assert tombstone == ChangeEvent(b'{"id":17}', None)


def test_a_key_change_is_delete_tombstone_create() -> None:
    update = Update(7, "K", [b"17", None, None], [b"18", b"Ada", b"pixels"])
    deleted, tombstone, created = events().updated(update, MOMENT, 95, not_reread)
    assert (deleted.key, body(deleted)["op"]) == (b'{"id":17}', "d")
    assert tombstone == ChangeEvent(b'{"id":17}', None)
    assert (created.key, body(created)["op"]) == (b'{"id":18}', "c")
    assert deleted.headers == ((NEW_KEY_HEADER, b'{"id":18}'),)
    assert created.headers == ((OLD_KEY_HEADER, b'{"id":17}'),)


def test_a_key_change_with_an_unchanged_column_reads_the_row_again_by_its_new_key() -> None:
    reread: list[Sequence[bytes]] = []

    def reread_row(table: TableEvents, key: Sequence[bytes]) -> Row | NoRow:
        reread.append(key)
        return [b"18", b"newer name", b"pixels"]

    update = Update(7, "K", [b"17", None, None], [b"18", b"Ada", UNCHANGED])
    _, _, created = events().updated(update, MOMENT, 95, reread_row)
    assert reread == [[b"18"]]
    # Only the missing value is taken: the newer name has an event of its own.
    assert body(created)["after"] == {"id": 18, "na%me": "Ada", "photo": "pixels"}


@pytest.mark.parametrize(
    ("no_row", "expected"),
    [
        (NoRow.DELETED, {"sluice-unknown": b'["photo"]', "sluice-row-gone": b"1"}),
        (NoRow.UNREADABLE, {"sluice-unknown": b'["photo"]'}),
    ],
)
def test_a_row_that_could_not_be_read_again_names_its_unknown_column(no_row: NoRow, expected: dict[str, bytes]) -> None:
    update = Update(7, "K", [b"17", None, None], [b"18", b"Ada", UNCHANGED])
    _, _, created = events().updated(update, MOMENT, 95, lambda table, key: no_row)
    assert body(created)["after"]["photo"] == UNAVAILABLE
    assert {n: v for n, v in created.headers if n.startswith("sluice-")} == expected


def test_a_header_names_a_column_that_an_update_left_out_and_a_text_that_equals_the_placeholder_is_data() -> None:
    update = Update(7, "", [], [b"17", UNAVAILABLE.encode(), UNCHANGED])
    (change,) = events().updated(update, MOMENT, 95, not_reread)
    assert change.headers == (("sluice-unchanged", b'["photo"]'),)
    assert body(change)["after"] == {"id": 17, "na%me": UNAVAILABLE, "photo": UNAVAILABLE}


def test_a_column_to_reread_is_read_again_and_the_others_are_not() -> None:
    table = events(reread={"photo"})
    reread = []

    def reread_row(of: TableEvents, key: Sequence[bytes]) -> Row:
        reread.append(list(key))
        return [b"17", b"newer", b"new"]

    (change,) = table.updated(Update(7, "", [], [b"17", UNCHANGED, UNCHANGED]), MOMENT, 95, reread_row)
    assert reread == [[b"17"]]
    assert body(change)["after"] == {"id": 17, "na%me": UNAVAILABLE, "photo": "new"}
    assert change.headers == (("sluice-unchanged", b'["na%me"]'),)


def test_a_value_that_its_types_writer_cannot_read_is_published_as_text() -> None:
    table = TableEvents(SOURCE, wire.table(7, "t", [("id", 23), ("day", 1082)], ["id"]), ["id"], {})
    message = wire.insert(7, [b"1", b"not a day"])
    assert table.encode(message, MOMENT, 95) is None
    (change,) = table.inserted(Insert(7, [b"1", b"not a day"]), MOMENT, 95)
    assert body(change)["after"] == {"id": 1, "day": "not a day"}
    assert body(table.snapshot_row([b"1", b"not a day"], MOMENT, 95))["after"] == {"id": 1, "day": "not a day"}


def test_a_change_outside_the_key_with_full_identity_is_a_plain_update() -> None:
    update = Update(7, "O", [b"17", b"Ada", b"p"], [b"17", b"Bea", b"p"])
    assert len(events("f").updated(update, MOMENT, 95, not_reread)) == 1


def test_a_composite_key_is_written_in_its_declared_order() -> None:
    (change,) = events(key=("na%me", "id")).inserted(Insert(7, [b"17", b"Ada", None]), MOMENT, 95)
    assert change.key == b'{"na%me":"Ada","id":17}'


def test_a_table_without_its_key_column_cannot_be_followed() -> None:
    with pytest.raises(CannotFollow, match="badge"):
        TableEvents(SOURCE, wire.table(7, "employee", COLUMNS, ["id"]), ["badge"], {})


VALUES = st.one_of(st.none(), st.just(UNCHANGED), st.text(st.characters(codec="utf-8")).map(str.encode))
NUMBERS = st.integers(-10, 10).map(lambda i: b"%d" % i)


@given(NUMBERS, st.lists(VALUES, min_size=2, max_size=2), st.booleans())
def test_the_compiled_row_equals_the_decoded_one(key: bytes, others: list[Value], is_insert: bool) -> None:
    row: Row = [key, *others]
    table = events()
    if is_insert:
        message = wire.insert(7, row)
        (expected,) = table.inserted(Insert(7, row), MOMENT, 95)
    else:
        message = wire.update(7, row)
        (expected,) = table.updated(Update(7, "", [], row), MOMENT, 95, not_reread)
    written = table.encode(message, MOMENT, 95)
    if written is None:
        assert None in row or UNCHANGED in row
    else:
        assert ChangeEvent(*written) == expected


@pytest.mark.parametrize("key", [None, UNCHANGED])
def test_a_change_without_its_key_is_never_published(key: Value) -> None:
    assert events().encode(wire.insert(7, [key, b"Ada", None]), MOMENT, 95) is None
    with pytest.raises(CannotFollow, match="primary key"):
        events().key([key, b"Ada", None])


def test_a_row_of_another_shape_than_its_relation_is_a_bug() -> None:
    with pytest.raises(Bug, match="number of columns"):
        events().encode(wire.insert(7, [b"17", b"Ada"]), MOMENT, 95)
