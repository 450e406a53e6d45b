"""The form of a source's events, and the rules for the columns of a table, from the source's Debezium settings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from sluice.cdc.event_form import (
    DEFAULT_FORM,
    Binaries,
    ColumnMask,
    ColumnRules,
    Decimals,
    Encoding,
    EventForm,
    Hstores,
    Intervals,
    Times,
    debezium_defaults,
)
from sluice.debezium_settings import DebeziumSettings
from sluice.debezium_settings.selection import matches
from sluice.errors import SettingsError
from sluice.pipeline import CdcSource

_AVRO_CONVERTERS = ("io.confluent.connect.avro.AvroConverter", "io.apicurio.registry.utils.converter.AvroConverter")
_JSON_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"
_KEY_OF_TABLE = re.compile(r"\s*([^:\s][^:]*):([^:,]+(?:,[^:,]+)*)\s*")


def event_form(source: CdcSource) -> EventForm:
    """The form of the events of a followed source. Raises SettingsError if a converter, or names that it would
    adjust, are not supported."""
    settings = source.debezium
    if settings is None:
        return DEFAULT_FORM
    _require_names_of_columns(settings)
    return replace(
        debezium_defaults(),
        decimals=cast(Decimals, settings.text("decimal.handling.mode")),
        times=cast(Times, settings.text("time.precision.mode")),
        intervals=cast(Intervals, settings.text("interval.handling.mode")),
        binaries=cast(Binaries, settings.text("binary.handling.mode")),
        hstores=cast(Hstores, settings.text("hstore.handling.mode")),
        key_encoding=_encoding(settings, "key.converter"),
        value_encoding=_encoding(settings, "value.converter"),
        money_digits=settings.number("money.fraction.digits"),
        unavailable=settings.text("unavailable.value.placeholder") or "",
        tombstones=settings.flag("tombstones.on.delete"),
        transactions=settings.flag("provide.transaction.metadata"),
        exact=source.debezium_exact,
        adjusted_names=settings.text("schema.name.adjustment.mode") == "avro",
    )


def column_rules(
    settings: DebeziumSettings | None, table: str, columns: Sequence[str], primary_key: Sequence[str]
) -> ColumnRules:
    """Which columns of `table` (`schema.table`) are published, and how.

    `columns`: the names of its columns. Raises SettingsError if the rules leave out a column of the record's key.
    """
    if settings is None:
        return ColumnRules()
    included, excluded = settings.names("column.include.list"), settings.names("column.exclude.list")
    left_out = frozenset(
        name
        for name in columns
        if (included and not _chosen(included, table, name)) or (excluded and _chosen(excluded, table, name))
    )
    key = key_columns(settings, table, columns)
    lost = [name for name in key or primary_key if name in left_out]
    if lost:
        raise SettingsError(
            f"table {table}: Debezium's column.include.list or column.exclude.list leaves out {lost[0]}, which the "
            "record's key contains. Next: publish it, or set message.key.columns"
        )
    return ColumnRules(left_out, _masks(settings, table, columns), key)


def key_columns(settings: DebeziumSettings, table: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of the record's key that `message.key.columns` chooses; empty if it chooses none of this table.

    Raises SettingsError if a part of the setting has another form: its table would get another key without a word.
    """
    found: list[str] = []
    for part in filter(str.strip, (settings.text("message.key.columns") or "").split(";")):
        match = _KEY_OF_TABLE.fullmatch(part)
        if match is None:
            raise SettingsError(
                f"Debezium's message.key.columns: the part {part.strip()!r} names no columns. Next: write it as "
                "schema.table:column,column"
            )
        for column in match[2].split(","):
            pattern = [f"{match[1]}.{column.strip()}"]
            found += [name for name in columns if matches(pattern, f"{table}.{name}") and name not in found]
    return tuple(found)


def _chosen(patterns: Sequence[str], table: str, column: str) -> bool:
    return matches(patterns, f"{table}.{column}")


def _masks(settings: DebeziumSettings, table: str, columns: Sequence[str]) -> dict[str, ColumnMask]:
    """The mask of each masked column. The setting that is written first decides, as in Debezium."""
    masks: dict[str, ColumnMask] = {}
    kinds: tuple[tuple[str, Callable[[dict[str, str]], ColumnMask]], ...] = (
        ("column.truncate.to.<length>.chars", lambda part: ColumnMask("truncate", int(part["length"]))),
        ("column.mask.with.<length>.chars", lambda part: ColumnMask("stars", int(part["length"]))),
        ("column.mask.hash.v2.<algorithm>.with.salt.<salt>", _hash_mask),
    )
    for name, mask_of in kinds:
        for part, value in settings.parts(name):
            patterns = [pattern.strip() for pattern in value.split(",") if pattern.strip()]
            for column in columns:
                if _chosen(patterns, table, column):
                    masks.setdefault(column, mask_of(part))
    return masks


def _hash_mask(part: dict[str, str]) -> ColumnMask:
    """The mask for a hash. Java writes SHA-256 as Python's sha256."""
    algorithm = re.sub(r"^sha-(1|224|256|384|512)$", r"sha\1", part["algorithm"].lower()).replace("/", "_")
    algorithm = algorithm.replace("sha3-", "sha3_")
    if algorithm not in hashlib.algorithms_guaranteed:
        raise SettingsError(
            "Debezium's column.mask.hash.v2: the algorithm is not known. Next: use SHA-256, or another one of "
            "java.security.MessageDigest"
        )
    return ColumnMask("hash", algorithm=algorithm, salt=part["salt"])


def _encoding(settings: DebeziumSettings, name: str) -> Encoding:
    converter: Any = settings.text(name)
    if converter is None:
        enable = f"{name}.schemas.enable"
        return "json_with_schema" if settings.is_given(enable) and settings.flag(enable) else "json"
    if converter == _JSON_CONVERTER:
        return "json_with_schema" if settings.flag(f"{name}.schemas.enable") else "json"
    if converter not in _AVRO_CONVERTERS:
        raise SettingsError(
            f"Debezium's {name}: it is not supported. Next: name Kafka Connect's JsonConverter, or Confluent's or "
            "Apicurio's AvroConverter"
        )
    if converter.startswith("io.apicurio") and not _is_confluent(settings, name):
        raise SettingsError(
            f"Debezium's {name}: Avro is written in Confluent's wire format. Next: set {name}.apicurio.registry."
            "id-handler to io.apicurio.registry.serde.Legacy4ByteIdHandler"
        )
    return "avro"


def _require_names_of_columns(settings: DebeziumSettings) -> None:
    encodings = {_encoding(settings, name) for name in ("key.converter", "value.converter")}
    if settings.text("field.name.adjustment.mode") == "avro" and encodings != {"avro"}:
        raise SettingsError(
            "Debezium's field.name.adjustment.mode: JSON has the names of the table's columns. Next: leave it out, or "
            "set key.converter and value.converter to an AvroConverter"
        )


def _is_confluent(settings: DebeziumSettings, name: str) -> bool:
    handler = settings.text(f"{name}.apicurio.registry.id-handler") or ""
    return handler.endswith("Legacy4ByteIdHandler") or settings.flag(f"{name}.apicurio.registry.as-confluent")
