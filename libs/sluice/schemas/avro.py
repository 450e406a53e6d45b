"""Generates the Avro schema of an entity's canonical records from the entity's contract.

The schema is a record `<pipeline>.<Entity>` with the entity's fields and a field `_sluice` for the provenance.
`sluice schemas apply` writes it to the pipeline's folder and registers it under `<topic>-value`.
"""

from typing import Any

import fastavro

from sluice.entities.contract import EntityContract
from sluice.entities.field_types import FieldType
from sluice.entities.values import DECIMAL_PRECISION, MONEY_SCALE

Schema = dict[str, Any]
PROVENANCE_FIELD = "_sluice"

_TIMESTAMP: Schema = {"type": "long", "logicalType": "timestamp-micros"}
_SIMPLE: dict[str, Any] = {
    "string": "string",
    "int": "long",
    "bool": "boolean",
    "float": "double",
    "bytes": "bytes",
    "date": {"type": "int", "logicalType": "date"},
    "timestamp": _TIMESTAMP,
    # `io.debezium.data.Json` is the name with which Kafka Connect and Debezium mark a text that contains JSON.
    "json": {"type": "string", "connect.name": "io.debezium.data.Json"},
}


class UnreadableSchema(ValueError):
    """A schema is not Avro, or uses a part of Avro that no schema of canonical records uses."""


def resolved(schema: Any) -> tuple[Any, dict[str, Schema]]:
    """An Avro schema as fastavro reads it, with the full name of each type, and its named types by full name.

    Raises UnreadableSchema if `schema` is not an Avro schema.
    """
    named: dict[str, Schema] = {}
    try:
        return fastavro.parse_schema(schema, named), named
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise UnreadableSchema(str(error)) from None
    # fastavro raises these for a value that is not a schema, such as a number.
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise UnreadableSchema(f"not an Avro schema ({type(error).__name__})") from None


def avro_schema(contract: EntityContract, pipeline: str) -> Schema:
    """The Avro schema of an entity's canonical records. Its named types have the namespace `<pipeline>.sluice`."""
    inner = f"{pipeline}.sluice"
    named: set[str] = set()
    fields = [_field(name, kind, inner, named) for name, kind in contract.fields.items()]
    return {
        "type": "record",
        "name": contract.record_name,
        "namespace": pipeline,
        "fields": [*fields, {"name": PROVENANCE_FIELD, "type": provenance_type(inner)}],
    }


def _field(name: str, kind: FieldType, inner: str, named: set[str]) -> Schema:
    avro = _type(kind, inner, named)
    field: Schema = {"name": name, "type": ["null", avro] if kind.nullable else avro}
    if kind.nullable:
        field["default"] = None
    if kind.unit:
        field["unit"] = kind.unit
    return field


def _type(kind: FieldType, inner: str, named: set[str]) -> Any:
    if kind.item is not None:
        item = _type(kind.item, inner, named)
        return {"type": "array", "items": ["null", item] if kind.item.nullable else item}
    if kind.kind == "decimal":
        return _decimal(kind)
    if kind.kind != "money":
        return _SIMPLE[kind.kind]
    default = (kind.precision, kind.scale) == (DECIMAL_PRECISION, MONEY_SCALE)
    name = "Money" if default else f"Money_{kind.precision}_{kind.scale}"
    if name in named:
        return f"{inner}.{name}"
    named.add(name)
    return _record(name, {"amount": _decimal(kind), "currency": "string"}, namespace=inner)


def _decimal(kind: FieldType) -> Schema:
    return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale}


def provenance_type(inner: str) -> Schema:
    """The Avro type of the field `_sluice`, which contains a record's provenance.

    Its inner types do not repeat its namespace, because Avro lets them inherit it. If they repeated it, a registry
    would return another text than the one that was registered.
    """
    contributor = _record(
        "Contributor",
        {
            "source": "string",
            "stream": "string",
            "source_key": "string",
            "mapping": "string",
            "mapping_version": "int",
            "topic": "string",
            "partition": "int",
            "offset": "long",
            "observed_at": _TIMESTAMP,
        },
    )
    contributor["fields"].append({"name": "effective_at", "type": ["null", _TIMESTAMP], "default": None})
    winner = _record("Winner", {"field": "string", "contributor": "int", "rule": "string"})
    members = {
        "revision": "long",
        "updated_at": _TIMESTAMP,
        "contributors": {"type": "array", "items": contributor},
        "winners": {"type": "array", "items": winner},
    }
    return _record("Provenance", members, namespace=inner)


def _record(name: str, members: dict[str, Any], **namespace: str) -> Schema:
    """An Avro record type. `members`: the type of each field by the field's name."""
    fields = [{"name": member, "type": kind} for member, kind in members.items()]
    return {"type": "record", "name": name, **namespace, "fields": fields}
