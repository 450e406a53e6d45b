"""What the stages write follows the schemas: one record of each kind, made by the code that makes them in earnest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from sluice.cdc.converter import RecordConverter
from sluice.cdc.debezium import ChangeEvent, EventSource, NoRow, TableEvents, TransactionInfo
from sluice.cdc.encoded_events import EncodedEvents
from sluice.cdc.envelope import Envelope, message_value, source_of
from sluice.cdc.event_form import DEFAULT_FORM, ColumnRules, EventForm, debezium_defaults
from sluice.cdc.event_schema import ColumnCatalog, table_schemas
from sluice.cdc.pgoutput import UNCHANGED, Delete, Insert, Update
from sluice.connector import Response
from sluice.connector.messages import Request
from sluice.kafka.record import Record
from sluice.position import Position
from sluice.provenance import Contribution, RawRef
from sluice.raw.writing import RawRecord, sweep_markers
from sluice.schemas.connect_json import PlainJson
from sluice_ingress_poller.page import Item
from sluice_ingress_poller.records import RecordBuilder, StoredResponse, StreamNames
from support import pgoutput_wire as wire
from support.json_schemas import json_schema

FETCHED = StoredResponse.now(Response(Request.get("/things"), 200, {}, b"[]"), 1_760_000_000_123)
NAMES = StreamNames("shop", "crm", "things", "raw.crm.things", "responses.crm", "dlq.ingress-poller")
MOMENT = TransactionInfo(1_760_000_000_123_456, 750, 90)
SNAPSHOT = TransactionInfo(1_760_000_000_123_456, None, None, snapshot="true")


DEBEZIUM = debezium_defaults()
FORMS = {
    "own": DEFAULT_FORM,
    "debezium": DEBEZIUM,
    "exact": replace(DEBEZIUM, exact=True),
    "other modes": replace(DEBEZIUM, decimals="string", times="isostring", intervals="string", binaries="hex"),
    "json_with_schema": replace(DEBEZIUM, key_encoding="json_with_schema", value_encoding="json_with_schema"),
    "avro": replace(DEBEZIUM, key_encoding="avro", value_encoding="avro"),
}
REGISTERED: list[dict[str, Any]] = []


def register(subject: str, schema: dict[str, Any]) -> int:
    """A registry in memory: the id of a schema is its place."""
    REGISTERED.append(schema)
    return len(REGISTERED) - 1


def table(form: EventForm) -> TableEvents:
    columns = [("id", 23), ("name", 25), ("photo", 25)]
    source, relation = EventSource("0.1.0", "raw.erp", "erp"), wire.table(7, "employee", columns, ["id"], "d")
    catalog = {"id": ColumnCatalog(nullable=False)}
    if not form.has_schemas:
        return TableEvents(source, relation, ["id"], {}, form=form, catalog=catalog)
    topic = "raw.erp.public.employee"
    schemas = table_schemas(topic, relation, catalog, ["id"], {}, form)
    converter = RecordConverter(topic, schemas, form, register)
    return EncodedEvents(source, relation, ["id"], {}, frozenset(), form, ColumnRules(), catalog, converter)


def plain(value: bytes) -> Any:
    """The value as the mapper reads it: without schema, and Avro as JSON."""
    record = PlainJson(REGISTERED.__getitem__).record(Record("t", 0, 0, None, value, {}, 0))
    parsed = orjson.loads(record.value or b"")
    return parsed["payload"] if parsed.keys() == {"schema", "payload"} else parsed


def written(form: EventForm = DEFAULT_FORM) -> dict[str, ChangeEvent]:
    """A change event of every kind that `ingress-cdc` publishes."""
    events = table(form)
    update, move = (
        Update(7, "", [], [b"17", b"Ada", UNCHANGED]),
        Update(7, "K", [b"17", None, None], [b"18", b"Ada", b"p"]),
    )
    moved = events.updated(move, MOMENT, 97, lambda *_: NoRow.DELETED)
    return {
        "truncate": ChangeEvent(b"", events.truncated(MOMENT, 99)),
        "insert": events.inserted(Insert(7, [b"17", b"Ada", None]), MOMENT, 95)[0],
        "snapshot": events.snapshot_row([b"17", b"Ada", None], SNAPSHOT, 95),
        "update": events.updated(update, MOMENT, 96, lambda *_: NoRow.DELETED)[0],
        "delete": events.deleted(Delete(7, "K", [b"17", None, None]), MOMENT, 98)[0],
        "moved: delete": moved[0],
        "moved: create": moved[-1],
        "first of a stream": events.inserted(Insert(7, [b"17", b"Ada", None]), MOMENT._replace(xid=1), 95)[0],
    }


def described(record: RawRecord) -> dict[str, Any]:
    """The record in the form that the schemas of raw records describe."""
    parsed = orjson.loads(record.value) if record.value else (None if record.value is None else "")
    headers = {name: text.decode() for name, text in record.headers}
    return {"key": orjson.loads(record.key or b"null"), "headers": headers, "value": parsed}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", written())
def test_a_change_event_follows_the_schema_in_every_form(kind: str, form: str) -> None:
    value = written(FORMS[form])[kind].value
    assert value is not None
    event = plain(value)
    assert json_schema("envelope").violations(event) == []
    assert json_schema("source").violations(event["source"]) == []


def test_a_logical_message_follows_the_schema() -> None:
    parts = Envelope(EventSource("0.1.0", "raw.erp", "erp"), "", "", DEBEZIUM).parts(MOMENT)
    value = message_value(source_of(parts, b"97", b"97"), "audit", b'"aGVsbG8="')
    assert json_schema("message").violations(orjson.loads(value)) == []


@pytest.mark.parametrize("changed_at", [None, datetime(2025, 10, 9, 8, 53, 20, 5, UTC)])
def test_a_polled_record_follows_the_schema(changed_at: datetime | None) -> None:
    maker = RecordBuilder(NAMES, 1, 42, frozenset)
    item = Item(b'{"id":17}', b'{"id":17,"name":"Ada"}', None, changed_at)
    upsert = maker.upsert(item, FETCHED)
    (delete,) = maker.deletes([b'{"id":18}'], FETCHED)
    assert json_schema("polled").violations(described(upsert)) == []
    assert json_schema("polled").violations(described(delete)) == []


def test_a_sweep_marker_follows_the_schema() -> None:
    markers = sweep_markers("raw.erp.public.employee", "public.employee", Position(2, 97, 0), 3)
    assert len(markers) == 3
    for marker in markers:
        assert marker.value == b""
        assert json_schema("sweep").violations(described(marker)) == []


@pytest.mark.parametrize("retracted", [False, True])
def test_a_contribution_follows_the_schema(retracted: bool) -> None:
    claim = Contribution(
        entity_id="E17",
        source="erp",
        stream="public.employee",
        source_key='{"id":17}',
        mapping="employee",
        mapping_version=3,
        output="main",
        position=Position(1, 97, 2),
        raw=RawRef("raw.erp.public.employee", 4, 1_024),
        observed_at=1_760_000_000_123_456,
        effective_at=None,
        contract=1,
        fields={} if retracted else {"name": "Ada", "pay": {"amount": "12.3400", "currency": "EUR"}, "left_on": None},
        retracted=retracted,
    ).sealed()
    assert json_schema("contribution").violations(orjson.loads(claim.to_json())) == []
