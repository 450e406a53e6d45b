"""Debezium's settings decide the form of the events, and what becomes of each column."""

from __future__ import annotations

from typing import Any

import pytest

from sluice.cdc.debezium_form import column_rules, event_form
from sluice.cdc.event_form import DEFAULT_FORM, ColumnMask, ColumnRules, debezium_defaults
from sluice.debezium_settings import read_settings
from sluice.errors import SettingsError
from sluice.pipeline import CdcSource

JSON = "org.apache.kafka.connect.json.JsonConverter"
CONFLUENT = "io.confluent.connect.avro.AvroConverter"
APICURIO = "io.apicurio.registry.utils.converter.AvroConverter"
LEGACY = "io.apicurio.registry.serde.Legacy4ByteIdHandler"
COLUMNS = ("id", "name", "note", "secret")


def source(settings: dict[str, Any] | None, **members: Any) -> CdcSource:
    written = {"cdc": "postgres", "dsn": {"env": "X"}, "tables": ["public.offer"], "debezium": settings}
    return CdcSource.model_validate({**written, **members})


def test_without_debezium_s_settings_events_have_sluice_s_form() -> None:
    assert event_form(source(None)) == DEFAULT_FORM


def test_with_debezium_s_settings_what_is_not_set_is_debezium_s_default() -> None:
    assert event_form(source({})) == debezium_defaults()


def test_each_setting_of_the_form_is_read() -> None:
    form = event_form(
        source(
            {
                "decimal.handling.mode": "DOUBLE",
                "time.precision.mode": "connect",
                "interval.handling.mode": "string",
                "binary.handling.mode": "base64-url-safe",
                "hstore.handling.mode": "map",
                "money.fraction.digits": 4,
                "unavailable.value.placeholder": "gone",
                "tombstones.on.delete": "false",
                "provide.transaction.metadata": "true",
            },
            debezium_exact=True,
        )
    )
    assert (form.decimals, form.times, form.intervals) == ("double", "connect", "string")
    assert (form.binaries, form.hstores, form.money_digits) == ("base64-url-safe", "map", 4)
    assert (form.unavailable, form.tombstones, form.transactions, form.exact) == ("gone", False, True, True)


@pytest.mark.parametrize(
    ("settings", "encoding"),
    [
        ({}, "json"),
        ({"value.converter": JSON}, "json_with_schema"),
        ({"value.converter": JSON, "value.converter.schemas.enable": False}, "json"),
        ({"value.converter.schemas.enable": True}, "json_with_schema"),
        ({"value.converter": CONFLUENT, "value.converter.schema.registry.url": "http://r"}, "avro"),
        ({"value.converter": APICURIO, "value.converter.apicurio.registry.id-handler": LEGACY}, "avro"),
        ({"value.converter": APICURIO, "value.converter.apicurio.registry.as-confluent": True}, "avro"),
    ],
)
def test_the_converter_decides_the_encoding(settings: dict[str, Any], encoding: str) -> None:
    form = event_form(source(settings))
    assert (form.key_encoding, form.value_encoding) == ("json", encoding)


@pytest.mark.parametrize("converter", [APICURIO, "org.apache.kafka.connect.storage.StringConverter"])
def test_a_converter_of_another_format_is_refused(converter: str) -> None:
    with pytest.raises(SettingsError, match=r"key\.converter: .*Next: "):
        event_form(source({"key.converter": converter}))


def test_adjusted_names_of_columns_are_refused_in_json() -> None:
    adjusted = {"field.name.adjustment.mode": "avro"}
    with pytest.raises(SettingsError, match=r"field\.name\.adjustment\.mode: .*Next: "):
        event_form(source(adjusted))
    assert event_form(source({**adjusted, "key.converter": CONFLUENT, "value.converter": CONFLUENT}))


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ({}, ColumnRules()),
        ({"column.exclude.list": "public.offer.(note|secret)"}, ColumnRules(frozenset({"note", "secret"}))),
        ({"column.include.list": r"PUBLIC\..*\.id,public.offer.n.*"}, ColumnRules(frozenset({"secret"}))),
        ({"column.exclude.list": "public.other.note"}, ColumnRules()),
        ({"message.key.columns": "public.other:note;(.*).offer:name, id"}, ColumnRules(key=("name", "id"))),
        (
            {"column.mask.with.3.chars": "public.offer.note", "column.truncate.to.9.chars": "public.offer.name"},
            ColumnRules(masks={"note": ColumnMask("stars", 3), "name": ColumnMask("truncate", 9)}),
        ),
        (
            {"column.mask.hash.v2.SHA-256.with.salt.a.b": ".*secret"},
            ColumnRules(masks={"secret": ColumnMask("hash", algorithm="sha256", salt="a.b")}),
        ),
    ],
)
def test_the_rules_for_columns_are_read(settings: dict[str, Any], rules: ColumnRules) -> None:
    assert column_rules(read_settings(settings), "public.offer", COLUMNS, ["id"]) == rules


@pytest.mark.parametrize("part", ["public.offer", "public.offer:", ":name", "a:b:c"])
def test_a_part_of_the_key_setting_that_names_no_columns_is_refused(part: str) -> None:
    settings = read_settings({"message.key.columns": f"public.other:note; {part};"})
    with pytest.raises(SettingsError, match=r"names no columns\. Next: "):
        column_rules(settings, "public.offer", COLUMNS, ["id"])


def test_a_column_of_the_key_cannot_be_left_out() -> None:
    settings = read_settings({"column.exclude.list": "public.offer.id"})
    with pytest.raises(SettingsError, match="leaves out id, which the record's key contains"):
        column_rules(settings, "public.offer", COLUMNS, ["id"])
