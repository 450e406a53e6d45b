"""What may change in a contract that people read: additions with a default, and nothing about what is there."""

import copy
from typing import Any

import pytest

from sluice.schemas import avro_schema, check_compatible
from support.workers import Worker

BASE = avro_schema(Worker.contract(), "workforce")


def _changed(**types: Any) -> dict[str, Any]:
    """The schema with fields' types replaced; None removes the field. Only a nullable field has a default."""
    changed = copy.deepcopy(BASE)
    fields = []
    for field in changed["fields"]:
        kind = types.get(field["name"], field["type"])
        default = {"default": None} if isinstance(kind, list) else {}
        if kind is not None:
            fields.append({"name": field["name"], "type": kind, **default})
    return {**changed, "fields": fields}


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def _money(scale: int) -> dict[str, Any]:
    fields = [{"name": "amount", "type": _decimal(38, scale)}, {"name": "currency", "type": "string"}]
    return {"type": "record", "name": "Money", "namespace": "workforce.sluice", "fields": fields}


def test_the_same_schema_is_compatible() -> None:
    assert check_compatible(BASE, copy.deepcopy(BASE)) == []


def test_a_nullable_field_may_come_and_go() -> None:
    without = _changed(remote=None)
    assert check_compatible(without, BASE) == []
    assert check_compatible(BASE, without) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height": ["null", _decimal(10, 2)]}, "height has scale 2, and had 3"),
        ({"height": ["null", _decimal(12, 3)]}, "height has precision 12, and had 10"),
        ({"base_pay": ["null", _money(2)]}, "base_pay.amount has scale 2, and had 4"),
        ({"height": ["null", "bytes"]}, "height has logicalType None, and had decimal"),
        (
            {"hired_at": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
            "hired_at has logicalType timestamp-millis, and had timestamp-micros",
        ),
        ({"level": ["null", "int"]}, "level has type int, and had long"),
        ({"full_name": ["null", "string"]}, "full_name is nullable now"),
        ({"status": "string"}, "status is not nullable any more"),
        ({"full_name": None}, "full_name is missing, and readers of the old schema require it"),
    ],
)
def test_what_readers_would_misread_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert reason in check_compatible(BASE, _changed(**changes))


def test_a_new_required_field_is_refused() -> None:
    assert check_compatible(_changed(full_name=None), BASE) == [
        "full_name is new and not nullable, so old records could not be read"
    ]


def test_another_name_is_refused() -> None:
    (reason,) = check_compatible(BASE, {**BASE, "name": "Person"})
    assert reason == "the record is called workforce.Person, and was workforce.Worker"


def test_a_schema_that_is_none_can_be_followed_by_nothing() -> None:
    (reason,) = check_compatible({"type": "record", "name": "Worker", "fields": [{"name": "a"}]}, BASE)
    assert reason == "the schema that it follows cannot be read: Record field 'a' is missing 'type'"


def test_the_order_of_fields_means_nothing() -> None:
    turned = {**copy.deepcopy(BASE), "fields": copy.deepcopy(BASE["fields"])[::-1]}
    assert check_compatible(BASE, turned) == []
