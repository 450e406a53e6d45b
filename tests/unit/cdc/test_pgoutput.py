"""The decoder reads what pgoutput writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.cdc.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    Origin,
    PgMessage,
    Row,
    Truncate,
    Update,
    decode,
)
from sluice.errors import Bug
from support import pgoutput_wire as wire

EMPLOYEE = wire.table(16_400, "employee", [("id", 23), ("name", 25), ("photo", 17)], ["id"])
ROWS = st.lists(st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=40)), max_size=6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wire.begin(10, 1_700_000_000_000_001, 7), Begin(10, 1_700_000_000_000_001, 7)),
        (wire.commit(10, 14, 1_700_000_000_000_001), Commit(10, 14)),
        (wire.relation(EMPLOYEE), EMPLOYEE),
        (wire.insert(16_400, [b"1", None, b""]), Insert(16_400, [b"1", None, b""])),
        (wire.update(16_400, [b"1", b"Ada", UNCHANGED]), Update(16_400, "", [], [b"1", b"Ada", UNCHANGED])),
        (
            wire.update(16_400, [b"2", b"Ada", UNCHANGED], [b"1", None, None]),
            Update(16_400, "K", [b"1", None, None], [b"2", b"Ada", UNCHANGED]),
        ),
        (
            wire.update(16_400, [b"2", b"b", b"c"], [b"1", b"b", b"c"], "O"),
            Update(16_400, "O", [b"1", b"b", b"c"], [b"2", b"b", b"c"]),
        ),
        (wire.delete(16_400, [b"1", None, None]), Delete(16_400, "K", [b"1", None, None])),
        (wire.truncate(16_400, 16_401, options=3), Truncate((16_400, 16_401))),
        (wire.message("sluice.heartbeat", b"hi", 9), Message(True, "sluice.heartbeat", b"hi")),
        (wire.message("x", b"", 9, transactional=False), Message(False, "x", b"")),
        (wire.type_name(16_500, "public", "mood"), None),
        (wire.origin(9, "elsewhere"), Origin(9, "elsewhere")),
    ],
)
def test_each_message_is_read_as_it_was_written_or_ignored(data: bytes, message: PgMessage | None) -> None:
    assert decode(data) == message


def test_an_unchanged_value_is_not_a_null() -> None:
    decoded = decode(wire.update(1, [UNCHANGED, None]))
    assert isinstance(decoded, Update)
    assert decoded.new[0] is UNCHANGED
    assert decoded.new[1] is None


@given(ROWS, ROWS)
def test_rows_of_any_bytes_survive(old: Row, new: Row) -> None:
    assert decode(wire.update(5, new, old, "O")) == Update(5, "O", old, new)


@given(st.integers(min_value=1, max_value=60))
def test_a_cut_message_is_never_read_as_a_shorter_row(cut: int) -> None:
    whole = wire.update(16_400, [b"17", b"Ada Lovelace", UNCHANGED], [b"16", None, None])
    data = whole[: max(1, len(whole) - cut)]
    with pytest.raises(Bug):
        decode(data)


def test_an_unknown_message_is_named() -> None:
    with pytest.raises(Bug, match="unknown message type b'Z'"):
        decode(b"Z123")
