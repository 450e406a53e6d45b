"""The Kafka Connect schemas of keys and values: of change events, and of Debezium's other records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sluice.cdc.column_json import PgType, json_writer
from sluice.cdc.column_schema import type_schema
from sluice.cdc.connect_schema import BYTES, INT64, STRING, ConnectSchema, struct
from sluice.cdc.default_values import default_of
from sluice.cdc.event_form import ColumnRules, EventForm
from sluice.cdc.pgoutput import Relation, RelationColumn

_POSTGRES = "io.debezium.connector.postgresql"
_COMMON = "io.debezium.connector.common"

_SNAPSHOT = ConnectSchema(
    "string",
    optional=True,
    name="io.debezium.data.Enum",
    version=1,
    parameters={"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},
    default="false",
)
_ORIGIN = (("origin", STRING.as_optional()), ("origin_lsn", INT64.as_optional()))
SOURCE = struct(
    f"{_POSTGRES}.Source",
    ("version", STRING),
    ("connector", STRING),
    ("name", STRING),
    ("ts_ms", INT64),
    ("snapshot", _SNAPSHOT),
    ("db", STRING),
    ("sequence", STRING.as_optional()),
    ("ts_us", INT64.as_optional()),
    ("ts_ns", INT64.as_optional()),
    ("schema", STRING),
    ("table", STRING),
    ("txId", INT64.as_optional()),
    ("lsn", INT64.as_optional()),
    ("xmin", INT64.as_optional()),
    *_ORIGIN,
)
TRANSACTION_BLOCK = struct(
    "event.block",
    ("id", STRING),
    ("total_order", INT64),
    ("data_collection_order", INT64),
    optional=True,
)
HEARTBEAT_KEY = struct(f"{_COMMON}.ServerNameKey", ("serverName", STRING))
HEARTBEAT_VALUE = struct(f"{_COMMON}.Heartbeat", ("ts_ms", INT64))
TRANSACTION_KEY = struct(f"{_COMMON}.TransactionMetadataKey", ("id", STRING))
_COLLECTION = struct("event.collection", ("data_collection", STRING), ("event_count", INT64), optional=True)
TRANSACTION_VALUE = struct(
    f"{_COMMON}.TransactionMetadataValue",
    ("status", STRING),
    ("id", STRING),
    ("event_count", INT64.as_optional()),
    ("data_collections", ConnectSchema("array", optional=True, items=_COLLECTION)),
    ("ts_ms", INT64),
)
MESSAGE_KEY = struct(f"{_POSTGRES}.MessageKey", ("prefix", STRING.as_optional()))


class RecordSchemas(NamedTuple):
    """The schemas of a record's key and value. `key`: None if the record has no key."""

    key: ConnectSchema | None
    value: ConnectSchema


class ColumnCatalog(NamedTuple):
    """What the catalogs say about a column and a Relation message does not. `default`: its expression, None if it has
    none."""

    nullable: bool = True
    default: str | None = None


HEARTBEAT = RecordSchemas(HEARTBEAT_KEY, HEARTBEAT_VALUE)
TRANSACTION = RecordSchemas(TRANSACTION_KEY, TRANSACTION_VALUE)


def message_schemas(form: EventForm) -> RecordSchemas:
    """The schemas of a logical message's event."""
    content = (BYTES if form.binaries == "bytes" else STRING).as_optional()
    value = struct(
        f"{_POSTGRES}.MessageValue",
        ("op", STRING),
        ("ts_ms", INT64.as_optional()),
        ("source", SOURCE),
        ("transaction", TRANSACTION_BLOCK),
        ("message", struct(f"{_POSTGRES}.Message", ("prefix", STRING.as_optional()), ("content", content))),
    )
    return RecordSchemas(MESSAGE_KEY, value)


def table_schemas(
    topic: str,
    relation: Relation,
    catalog: Mapping[str, ColumnCatalog],
    key_columns: Sequence[str],
    types: Mapping[int, PgType],
    form: EventForm,
    rules: ColumnRules = ColumnRules(),  # noqa: B008 (it is frozen)
) -> RecordSchemas:
    """The schemas of the events of a table that has the columns of `relation`. `topic`: the name of its raw topic."""
    columns = {
        column.name: _column_schema(column, catalog.get(column.name, ColumnCatalog()), types, form)
        for column in relation.columns
    }
    key = struct(f"{topic}.Key", *((name, columns[name]) for name in rules.key or key_columns), version=None)
    fields = [(name, _hidden(schema, rules, name)) for name, schema in columns.items() if name not in rules.left_out]
    row = struct(f"{topic}.Value", *fields, version=None, optional=True)
    value = struct(
        f"{topic}.Envelope",
        ("before", row),
        ("after", row),
        ("source", SOURCE if form.debezium else _without_origin(SOURCE)),
        ("transaction", TRANSACTION_BLOCK),
        ("op", STRING),
        ("ts_ms", INT64.as_optional()),
        ("ts_us", INT64.as_optional()),
        ("ts_ns", INT64.as_optional()),
        version=2,
    )
    return RecordSchemas(key, value)


def adjusted_name(name: str) -> str:
    """The full name of a schema as Avro allows it: other characters are replaced by `_`, as Debezium does."""
    return ".".join(adjusted_part(part) for part in name.split("."))


def adjusted_part(name: str) -> str:
    """The name of a field as Avro allows it. A digit at the start gets `_` before it."""
    replaced = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{replaced}" if replaced[:1].isdigit() else replaced


def _column_schema(
    column: RelationColumn, catalog: ColumnCatalog, types: Mapping[int, PgType], form: EventForm
) -> ConnectSchema:
    known = types.get(column.type_oid, PgType(column.type_oid))
    write = json_writer(types, column.type_oid, column.typmod, form)
    default = default_of(catalog.default, column.type_oid, write, is_enum=known.is_enum)
    schema = type_schema(types, column.type_oid, column.typmod, form)
    return replace(schema, optional=catalog.nullable, default=default)


def _hidden(schema: ConnectSchema, rules: ColumnRules, name: str) -> ConnectSchema:
    mask = rules.masks.get(name)
    if mask is None:
        return schema
    stated = {"truncateLength": str(mask.length)} if mask.kind == "truncate" else {"masked": "true"}
    return replace(schema, parameters={**schema.parameters, **stated})


def _without_origin(source: ConnectSchema) -> ConnectSchema:
    return replace(source, fields=tuple(field for field in source.fields if field not in _ORIGIN))
