"""Ledger entries in the two formats that Kafka Connect reads: Avro through the registry, and JSON that repeats its
schema in every record.

The JDBC sink writes neither nested records nor arrays. So a record is flat: money has two fields, and the provenance is
one text of JSON, which the sink writes to a `jsonb` column. This favours the sink, because it assembles no provenance.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any
from urllib.request import Request, urlopen

import fastavro
import orjson

from bench.canonical import decoded
from bench.topics import Message

# The logical type with which Debezium's JDBC sink keeps microseconds: Kafka Connect's own has milliseconds.
MICROSECONDS = {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}
DAYS = {"type": "int", "connect.name": "io.debezium.time.Date"}
JSON_TEXT = {"type": "string", "connect.name": "io.debezium.data.Json"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 4}
RATE = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4}

FIELDS: dict[str, Any] = {
    "entity_id": "string",
    "entry_number": "string",
    "cost_centre": "string",
    "employee_number": ["null", "string"],
    "booked_on": DAYS,
    "changed_at": MICROSECONDS,
    "amount_amount": MONEY,
    "amount_currency": "string",
    "quantity": "long",
    "rate": RATE,
    "text": ["null", "string"],
    "_revision": "long",
    "_updated_at": MICROSECONDS,
    "_provenance": JSON_TEXT,
}
COLUMNS = {
    "entity_id": "text PRIMARY KEY",
    "entry_number": "text",
    "cost_centre": "text",
    "employee_number": "text",
    "booked_on": "date",
    "changed_at": "timestamptz",
    "amount_amount": "numeric(38,4)",
    "amount_currency": "char(3)",
    "quantity": "bigint",
    "rate": "numeric(9,4)",
    "text": "text",
    "_revision": "bigint",
    "_updated_at": "timestamptz",
    "_provenance": "jsonb",
}
"""The columns of the target table: those of Sluice's golden table, without the origin of the row (epoch, partition,
offset)."""

Encoder = Callable[[dict[str, Any]], bytes]


def avro_schema() -> dict[str, Any]:
    """The Avro schema of flat records."""
    fields = [{"name": name, "type": kind} for name, kind in FIELDS.items()]
    return {"type": "record", "name": "LedgerRow", "namespace": "bench", "fields": fields}


def avro_encoder(schema_id: int) -> Encoder:
    """Encodes flat records in Confluent's wire format."""
    schema, start = fastavro.parse_schema(avro_schema()), b"\0" + schema_id.to_bytes(4, "big")

    def encode(record: dict[str, Any]) -> bytes:
        out = BytesIO(start)
        out.seek(len(start))
        fastavro.schemaless_writer(out, schema, record)
        return out.getvalue()

    return encode


def json_encoder() -> Encoder:
    """Encodes flat records as Kafka Connect's JsonConverter does with `schemas.enable`."""
    fields = [_json_field(name, kind) for name, kind in FIELDS.items()]
    schema = orjson.dumps({"type": "struct", "optional": False, "name": "bench.LedgerRow", "fields": fields})
    start = b'{"schema":' + schema + b',"payload":'

    def encode(record: dict[str, Any]) -> bytes:
        return start + orjson.dumps(record, default=_decimal_text) + b"}"

    return encode


def _json_field(name: str, kind: Any) -> dict[str, Any]:
    optional = isinstance(kind, list)
    inner = kind[1] if optional else kind
    declared = inner if isinstance(inner, dict) else {"type": inner}
    field: dict[str, Any] = {"field": name, "optional": optional, "type": _JSON_TYPES[declared["type"]]}
    if declared.get("logicalType") == "decimal":
        precision = str(declared["precision"])
        parameters = {"scale": str(declared["scale"]), "connect.decimal.precision": precision}
        return {**field, "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": parameters}
    return {**field, "name": declared["connect.name"], "version": 1} if "connect.name" in declared else field


_JSON_TYPES = {"string": "string", "long": "int64", "int": "int32", "bytes": "bytes"}


def _decimal_text(value: Any) -> str:
    """The base64 text of a decimal's unscaled value, big-endian. All decimals have four digits after the point."""
    unscaled = int(Decimal(value).scaleb(4))
    return base64.b64encode(unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)).decode()


def register(registry_url: str, subject: str) -> int:
    """Register the Avro schema of flat records. Returns its id."""
    body = orjson.dumps({"schema": json.dumps(avro_schema())})
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = Request(f"{registry_url}/subjects/{subject}/versions", body, headers)  # noqa: S310  the bench's own server
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return int(orjson.loads(answer.read())["id"])


def flattened(messages: Iterable[Message], registry_url: str, encode: Encoder) -> Iterator[Message]:
    """The same records as `messages`, which are canonical records, as flat records."""
    for message in messages:
        found = decoded(registry_url, message.value or b"", times_as_numbers=True)
        yield message._replace(value=encode(flat(message.key.decode(), found)), headers=[])


def flat(entity_id: str, canonical: dict[str, Any]) -> dict[str, Any]:
    """A canonical record as a flat record. Decimals stay decimals; times are numbers."""
    money, sluice = canonical["amount"], canonical["_sluice"]
    provenance = {"contributors": sluice["contributors"], "winners": sluice["winners"]}
    return {
        **{name: value for name, value in canonical.items() if name not in ("amount", "_sluice")},
        "entity_id": entity_id,
        "amount_amount": money["amount"],
        "amount_currency": money["currency"],
        "_revision": sluice["revision"],
        "_updated_at": sluice["updated_at"],
        "_provenance": orjson.dumps(provenance).decode(),
    }
