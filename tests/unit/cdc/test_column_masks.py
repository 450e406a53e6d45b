"""Hidden columns: in rows, never in keys, as Debezium hides them."""

from __future__ import annotations

from hashlib import sha256

import orjson
import pytest

from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.event_form import DEFAULT_FORM, ColumnMask, ColumnRules, debezium_defaults
from sluice.cdc.pgoutput import UNCHANGED, Relation, RelationColumn, Row, Update
from support import pgoutput_wire as wire

MOMENT = TransactionInfo(1_700_000_000_123_456, 750, 90)
HASH = ColumnMask("hash", algorithm="sha256", salt="pepper")


def shown(mask: ColumnMask, value: bytes | None, oid: int = 25, typmod: int = -1) -> object:
    columns = (RelationColumn("c", oid, typmod, True), RelationColumn("id", 23, -1, True))
    relation = Relation(7, "public", "t", "d", columns)
    rules = ColumnRules(masks={"c": mask})
    table = TableEvents(EventSource("", "", ""), relation, ["id"], {}, form=debezium_defaults(), rules=rules)
    row: Row = [value, b"1"]
    written = table.encode(wire.insert(7, row), MOMENT, 95)
    assert written is not None
    (slow,) = table.updated(Update(7, "", [], row), MOMENT, 95, lambda *_: row)
    after = orjson.loads(written[1])["after"]
    assert orjson.loads(slow.value or b"")["after"] == after
    return after["c"]


@pytest.mark.parametrize(
    ("mask", "value", "oid", "typmod", "expected"),
    [
        (ColumnMask("truncate", 3), b"secret", 25, -1, "sec"),
        (ColumnMask("truncate", 3), b"ab", 25, -1, "ab"),
        (ColumnMask("truncate", 3), "a\U0001f600b".encode(), 25, -1, "a\U0001f600"),
        (ColumnMask("truncate", 3), b"abcdef", 1043, 14, "abc"),
        (ColumnMask("truncate", 10), b"abcdef", 1043, 14, "abcdef"),
        (ColumnMask("truncate", 1), b"\\xfbff", 17, -1, "+w=="),
        (ColumnMask("truncate", 1), b"42", 23, -1, 42),
        (ColumnMask("stars", 4), b"secret", 25, -1, "****"),
        (ColumnMask("stars", 4), None, 25, -1, "****"),
        (ColumnMask("stars", 0), b"secret", 25, -1, ""),
        (ColumnMask("stars", 4), b"42", 23, -1, 42),
        (HASH, b"secret", 25, -1, sha256(b"peppersecret").hexdigest()),
        (HASH, b"secret", 1043, 24, sha256(b"peppersecret").hexdigest()[:20]),
        (HASH, None, 25, -1, None),
    ],
)
def test_a_value_is_hidden(mask: ColumnMask, value: bytes | None, oid: int, typmod: int, expected: object) -> None:
    assert shown(mask, value, oid, typmod) == expected


def test_a_key_is_not_hidden_and_an_absent_value_stays_hidden() -> None:
    relation = wire.table(7, "t", [("name", 25), ("other", 25)], ["name"])
    rules = ColumnRules(masks={"name": ColumnMask("stars", 3), "other": ColumnMask("stars", 3)})
    table = TableEvents(EventSource("", "", ""), relation, ["name"], {}, form=DEFAULT_FORM, rules=rules)
    (event,) = table.updated(Update(7, "", [], [b"Ada", UNCHANGED]), MOMENT, 95, lambda *_: [])
    assert event.key == b'{"name":"Ada"}'
    assert orjson.loads(event.value or b"")["after"] == {"name": "***", "other": "***"}
