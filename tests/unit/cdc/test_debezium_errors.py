"""The exact form repeats what Debezium states wrongly; without it no row is misstated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from sluice.cdc.column_json import PgType
from sluice.cdc.debezium import EventSource, TableEvents, TransactionInfo
from sluice.cdc.event_form import EventForm, debezium_defaults
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.pgoutput import Relation, RelationColumn, Row
from support import pgoutput_wire as wire

DEBEZIUM = debezium_defaults()
EXACT = replace(DEBEZIUM, exact=True)
MOMENT = TransactionInfo(1_700_000_000_123_456, 750, 90)
MOOD, MOODS, PLACE, PERCENT, PERCENTS = 20_001, 20_002, 20_003, 20_004, 20_005
TYPES = {
    MOOD: PgType(MOOD, name="mood", is_enum=True),
    MOODS: PgType(MOODS, element=MOOD, name="_mood"),
    PLACE: PgType(PLACE, name="place"),
    PERCENT: PgType(PERCENT, base=1700, base_typmod=(5 << 16 | 2) + 4),
    PERCENTS: PgType(PERCENTS, element=PERCENT),
    1182: PgType(1182, element=1082),
    1007: PgType(1007, element=23),
    1009: PgType(1009, element=25),
    1561: PgType(1561, element=1560),
    791: PgType(791, element=790),
}


def events(form: EventForm, oid: int, catalog: ColumnCatalog = ColumnCatalog(), typmod: int = -1) -> TableEvents:  # noqa: B008
    columns = (RelationColumn("id", 23, -1, True), RelationColumn("c", oid, typmod, False))
    relation = Relation(7, "public", "t", "d", columns)
    return TableEvents(EventSource("", "", ""), relation, ["id"], TYPES, form=form, catalog={"c": catalog})


def after(form: EventForm, oid: int, text: str | None, typmod: int = -1, default: str | None = None) -> Any:
    """The members of the row of an insert, without the key."""
    row: Row = [b"1", None if text is None else text.encode()]
    written = events(form, oid, ColumnCatalog(True, default), typmod).encode(wire.insert(7, row), MOMENT, 95)
    assert written is not None
    return {name: value for name, value in orjson.loads(written[1])["after"].items() if name != "id"}


@pytest.mark.parametrize(
    ("oid", "default", "stated"),
    [
        (25, "'d'::text", "d"),
        (23, "7", 7),
        (16, "true", True),
        (1184, "now()", "1970-01-01T00:00:00.000000Z"),
        (25, None, None),
    ],
)
def test_a_null_is_stated_as_the_default_in_the_exact_form_alone(oid: int, default: str | None, stated: object) -> None:
    assert after(EXACT, oid, None, default=default) == {"c": stated}
    assert after(DEBEZIUM, oid, None, default=default) == {"c": None}


@pytest.mark.parametrize(
    ("oid", "typmod", "zero"),
    [
        (23, -1, 0),
        (25, -1, ""),
        (16, -1, False),
        (1184, -1, "1970-01-01T00:00:00Z"),
        (1700, (5 << 16 | 2) + 4, "AA=="),
        (1700, -1, {"scale": 0, "value": "AA=="}),
        (PERCENT, -1, "AA=="),
        (701, -1, 0.0),
        (1082, -1, 0),
        (1083, -1, 0),
        (17, -1, ""),
        (2950, -1, ""),
        (3802, -1, ""),
        (1007, -1, []),
        (1186, -1, 0),
        (MOOD, -1, ""),
    ],
)
def test_a_deleted_row_has_invented_zeros_in_the_exact_form_alone(oid: int, typmod: int, zero: object) -> None:
    message = wire.delete(7, [b"1", None])
    for form, stated in ((EXACT, zero), (DEBEZIUM, None)):
        written = events(form, oid, ColumnCatalog(nullable=False), typmod).encode(message, MOMENT, 95)
        assert written is not None
        assert orjson.loads(written[1])["before"] == {"id": 1, "c": stated}
    optional = events(EXACT, oid, ColumnCatalog(nullable=True), typmod).encode(message, MOMENT, 95)
    assert optional is not None
    assert orjson.loads(optional[1])["before"] == {"id": 1, "c": None}


@pytest.mark.parametrize(
    ("oid", "text", "stated", "right"),
    [
        (19, "x", {"c": None}, {"c": "x"}),
        (30, "1 2", {"c": []}, {"c": "1 2"}),
        (1561, "{101}", {"c": None}, {"c": ["BQ=="]}),
        (MOODS, "{good,NULL}", {"c": None}, {"c": ["good", None]}),
        (MOODS, "{good}", {"c": ["good"]}, {"c": ["good"]}),
        (1182, '{"0044-03-15 BC"}', {"c": [-703383]}, {"c": [-735160]}),
        (1009, '{{a},{"b,c"}}', {"c": ["[Ljava.lang.String;@0"] * 2}, {"c": [["a"], ["b,c"]]}),
        (1009, "{a,NULL}", {"c": ["a", None]}, {"c": ["a", None]}),
        (3615, "'a'", {}, {"c": "'a'"}),
        (791, "{$1.50}", {}, {"c": ["AJY="]}),
        (PLACE, "(Bonn,5)", {}, {"c": "(Bonn,5)"}),
        (PERCENTS, "{1.50}", {}, {"c": ["AJY="]}),
        (700, "1e-45", {"c": 1.4e-45}, {"c": 1.4e-45}),
    ],
)
def test_a_type_is_misstated_or_left_out_in_the_exact_form_alone(
    oid: int, text: str, stated: object, right: object
) -> None:
    assert after(EXACT, oid, text) == stated
    assert after(DEBEZIUM, oid, text) == right


def test_a_negative_scale_loses_its_sign_in_the_exact_form_alone() -> None:
    typmod = (3 << 16 | (-2 & 0x7FF)) + 4
    assert after(DEBEZIUM, 1700, "12300", typmod) == {"c": "ew=="}
    assert len(after(EXACT, 1700, "12300", typmod)["c"]) == 1_136
    assert after(replace(EXACT, decimals="string"), 1700, "12300", typmod) == {"c": "12300." + "0" * 2_046}


def test_dates_before_christ_are_misread_in_rows_of_exact_snapshots() -> None:
    for form, stated in ((EXACT, -703383), (DEBEZIUM, -735160)):
        table = events(form, 1082)
        [(_, copied)] = table.copied_rows([b"1\t0044-03-15 BC"], MOMENT, 95)
        read = table.snapshot_row([b"1", b"0044-03-15 BC"], MOMENT, 95).value
        changed = table.encode(wire.insert(7, [b"1", b"0044-03-15 BC"]), MOMENT, 95)
        assert changed is not None
        assert orjson.loads(copied)["after"]["c"] == orjson.loads(read or b"")["after"]["c"] == stated
        assert orjson.loads(changed[1])["after"]["c"] == -735160
