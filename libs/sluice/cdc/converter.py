"""Converts keys and values of one topic from plain JSON to the encoding of the source's events.

The encoders write plain JSON. JSON with schemas puts the schema's bytes before it, which are the same for all records
of a shape. Avro is written from the parsed JSON, in Confluent's wire format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import orjson

from sluice.cdc.avro_schema import AvroSchema, avro_schema
from sluice.cdc.avro_writer import avro_writer
from sluice.cdc.connect_schema import ConnectSchema
from sluice.cdc.event_form import Encoding, EventForm
from sluice.cdc.event_schema import RecordSchemas, adjusted_name
from sluice.errors import Bug

RegisterSchema = Callable[[str, AvroSchema], int]
"""Effect: register an Avro schema under a subject of the schema registry. Returns its id; raises EnvironmentFault if
the registry refuses it, or does not answer and the id is not known."""
Convert = Callable[[bytes], bytes]

_parse = msgspec.json.Decoder(float_hook=float).decode


def no_registry(subject: str, schema: AvroSchema) -> int:
    """A `RegisterSchema` for sources whose records are JSON."""
    raise Bug(f"no registry for {subject}")


class DoesNotFit(Exception):
    """A value does not fit the schema of its column."""


class RecordConverter:
    """Converts the records of one topic that have the same schemas. `register` is called only for Avro.

    `key` and `value` are functions of plain JSON. They raise DoesNotFit if a value does not fit its column's schema.
    """

    def __init__(self, topic: str, schemas: RecordSchemas, form: EventForm, register: RegisterSchema) -> None:
        self.key = _converter(form.key_encoding, schemas.key, f"{topic}-key", form, register)
        self.value = _converter(form.value_encoding, schemas.value, f"{topic}-value", form, register)


def _converter(
    encoding: Encoding, schema: ConnectSchema | None, subject: str, form: EventForm, register: RegisterSchema
) -> Convert:
    if encoding == "json" or schema is None:
        return _unchanged
    if encoding == "avro":
        return _to_avro(schema, subject, register)
    named = adjusted(schema) if form.adjusted_names else schema
    start = b'{"schema":%b,"payload":' % orjson.dumps(named.to_json())
    return lambda payload: b"%b%b}" % (start, payload)


def _unchanged(payload: bytes) -> bytes:
    return payload


def _to_avro(schema: ConnectSchema, subject: str, register: RegisterSchema) -> Convert:
    header = b"\0" + register(subject, avro_schema(schema)).to_bytes(4, "big")
    write = avro_writer(schema)

    def convert(payload: bytes) -> bytes:
        try:
            return header + write(_parse(payload))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise DoesNotFit(
                f"a value does not fit its column's schema in {subject} ({type(error).__name__})"
            ) from None

    return convert


def adjusted(schema: ConnectSchema) -> ConnectSchema:
    """The schema with names of structs that Avro allows."""
    fields = tuple((name, adjusted(inner)) for name, inner in schema.fields)
    return replace(schema, name=adjusted_name(schema.name) if schema.type == "struct" else schema.name, fields=fields)
