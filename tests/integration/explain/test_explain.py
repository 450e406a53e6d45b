"""`sluice explain` with logs and tables that the test writes itself."""

from __future__ import annotations

import time
import uuid

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.explain import Explanation, explain, rendering
from sluice.explain.explanation import FieldExplained
from sluice.kafka.topics import Topics
from sluice.provenance import RawRef
from sluice.stage.partition_record import PartitionRecord, partition_key
from support.handmade import Handmade
from support.people import Person
from support.stage_processes import environment_of


@pytest.fixture(scope="module")
def people(shared_handmade: Handmade) -> Handmade:
    """P1 is in both sources, P2 has no name, P3 is deleted, P4 is claimed and has no golden record."""
    people = shared_handmade
    response = people.response(int(time.time() * 1000))
    people.mapped(people.person("P1", "Ada", response, city="Kiel", email="ada@example.org"))
    people.mapped(people.staff("P1", "12.5", notes="from the ERP"))
    people.merged("P1")
    people.mapped(people.staff("P2", "7"))
    people.merged("P2")
    left = people.mapped(people.person("P3", "Alan"))
    people.merged("P3")
    people.retract(left, people.delete("P3"))
    people.merged("P3")
    people.finish()
    people.mapped(people.person("P4", "Edsger"))
    return people


def explained(people: Handmade, entity_id: str, only: str | None = None) -> Explanation:
    return explain(people.pipeline, Person.contract(), people.settings, entity_id, only)


def field(of: Explanation, name: str) -> FieldExplained:
    return next(one for one in of.fields if one.name == name)


def test_each_value_has_its_source_record_rule_and_raw_record(people: Handmade) -> None:
    found = explained(people, "P1")
    assert found.state == "golden"
    notes = field(found, "notes")
    assert notes.value == "from the ERP"
    assert notes.rule == "prefer(erp,crm)"
    assert notes.origin is not None
    assert (notes.origin.source, notes.origin.stream) == ("erp", "public.staff")
    assert notes.origin.source_key == '{"id":1}'
    assert found.places[notes.origin.raw].state == "exists"
    assert not any(one.superseded for one in found.fields)


def test_a_polled_value_leads_to_the_stored_response(people: Handmade) -> None:
    found = explained(people, "P1", "city")
    (city,) = found.fields
    assert city.origin is not None
    response = found.places[city.origin.raw].response
    assert response is not None
    assert not response.expired
    (stored,) = [one for one in people.records(people.names.responses("crm")) if one.offset == response.offset]
    assert stored.key == response.response_id.encode()


def test_a_response_that_is_deleted_is_shown_as_expired(people: Handmade) -> None:
    deleted = f"{int(time.time() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | 0xABC:032x}"
    people.mapped(people.person("P5", "Barbara", str(uuid.UUID(deleted))))
    people.merged("P5")
    people.finish()
    found = explained(people, "P5", "name")
    assert "expired" in "\n".join(rendering.lines(found))


def test_a_claim_that_lost_is_shown(people: Handmade) -> None:
    people.mapped(people.person("P6", "Grace"))
    other = people.person("P7", "Grace Hopper")
    people.mapped(other, entity_id="P6")
    people.merged("P6")
    people.finish()
    (losing,) = field(explained(people, "P6"), "name").losing
    assert losing.value == "Grace Hopper"
    assert losing.origin.source_key == '{"id":"P7"}'


def test_an_incomplete_entity_names_what_it_lacks(people: Handmade) -> None:
    found = explained(people, "P2")
    assert (found.state, found.missing) == ("withheld", ("name",))
    assert field(found, "pay").value == {"amount": "7.0000", "currency": "EUR"}
    assert "no value for required name" in next(iter(rendering.lines(found)))


@pytest.mark.parametrize(("entity_id", "state"), [("P3", "deleted"), ("P4", "not-stored"), ("P99", "unknown")])
def test_an_entity_without_a_golden_record_has_a_state(people: Handmade, entity_id: str, state: str) -> None:
    assert explained(people, entity_id).state == state


def test_a_newer_claim_that_is_not_stored_yet_is_pointed_out(people: Handmade) -> None:
    people.mapped(people.staff("P1", "99", notes="from the ERP"))
    assert field(explained(people, "P1"), "pay").superseded
    assert not field(explained(people, "P1"), "notes").superseded


def test_the_command_takes_an_id_as_a_source_spells_it(people: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "p1", "name", "--json"], env=environment_of(people.settings))
    assert done.exit_code == 0, done.output
    (name,) = orjson.loads(done.stdout.splitlines()[-1])["fields"]
    assert name["value"] == "Ada"
    assert name["origin"]["source_key"] == '{"id":"P1"}'
    assert name["raw"]["response"]["expired"] is False


def test_a_stored_response_is_shown_its_body_alone_on_stdout(people: Handmade) -> None:
    response_id = people.response(int(time.time() * 1000), b'{"data":[1]}')
    done = CliRunner().invoke(app, ["responses", "show", response_id], env=environment_of(people.settings))
    assert done.exit_code == 0, done.output
    assert done.stdout == '{"data":[1]}'
    assert "GET https://crm/people?page=1\nstatus 403, fetched 2" in done.stderr
    assert "content-type: application/json" in done.stderr


def test_a_stored_response_is_one_json_object_whatever_its_body_is(people: Handmade) -> None:
    response_id = people.response(int(time.time() * 1000), b"\xff")
    done = CliRunner().invoke(app, ["responses", "show", response_id, "--json"], env=environment_of(people.settings))
    printed = orjson.loads(done.stdout)
    assert (printed["id"], printed["status"], printed["body_base64"], printed["body_bytes"]) == (
        response_id,
        403,
        "/w==",
        1,
    )


def test_an_unknown_response_is_a_finding_and_a_malformed_id_a_wrong_argument(people: Handmade) -> None:
    never = str(uuid.UUID(int=int(time.time() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | 0xDEF))
    done = CliRunner().invoke(app, ["responses", "show", never], env=environment_of(people.settings))
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"no response {never} in {people.names.responses('crm')}" in done.stderr
    done = CliRunner().invoke(app, ["responses", "show", "17"], env=environment_of(people.settings))
    assert done.exit_code == 2
    assert "'17' is no id of a response" in done.stderr


def test_an_unknown_id_is_a_finding(people: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "P0"], env=environment_of(people.settings))
    assert done.exit_code == 1
    assert "contributions have no claim to person P0" in done.stderr


def test_an_unknown_field_names_the_known_ones(people: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "P1", "salary"], env=environment_of(people.settings))
    assert done.exit_code == 2
    assert "there are number, name, email" in done.stderr


def test_a_newer_record_that_is_parked_is_named_and_not_quoted(people: Handmade) -> None:
    people.mapped(people.person("P8", "Ada", city="Kiel"))
    people.merged("P8")
    parked = people.person("P8", "Countess", city="London")
    people.dead_letter("mapper", parked)
    people.finish()
    found = explained(people, "P8")
    (newer,) = found.newer.values()
    assert (newer.state, newer.raw) == ("parked", RawRef(*parked[:3]))
    (dead_letter,) = [one for one in people.records(people.names.dlq("mapper")) if one.key == parked.key]
    assert newer.dead_letter == RawRef(*dead_letter[:3])
    assert field(found, "city").value == "Kiel"
    text = "\n".join(rendering.lines(found))
    assert f"a newer record {parked.place} is parked since 20" in text
    assert "wrong-type: of a test" in text
    assert f"its dead letter is {dead_letter.place}, cause {dead_letter.headers['sluice-cause'].decode()}" in text
    assert "Countess" not in text
    assert "London" not in text
    city = next(one for one in rendering.to_json(found)["fields"] if one["field"] == "city")
    assert city["newer"] == "parked"


def test_a_parked_record_that_is_older_than_a_claim_is_not_named(people: Handmade) -> None:
    people.mapped(people.staff("P10", "1"))
    people.dead_letter("mapper", people.staff("P10", "2"))
    assert explained(people, "P10").newer
    people.mapped(people.staff("P10", "3"))
    people.finish()
    assert not explained(people, "P10").newer


def test_a_newer_record_that_the_mapper_has_not_read_is_named(people: Handmade) -> None:
    people.mapped(people.person("P11", "Ada"))
    people.merged("P11")
    people.finish()
    unread = people.person("P11", "Lovelace")
    (newer,) = explained(people, "P11").newer.values()
    assert (newer.state, newer.raw, newer.dead_letter) == ("unread", RawRef(*unread[:3]), None)
    assert "the mapper has not read it yet" in newer.why


def test_a_newer_record_of_a_paused_partition_names_the_pause(people: Handmade) -> None:
    people.mapped(people.staff("P12", "1"))
    people.finish()
    unread = people.staff("P12", "2")
    topic_id = Topics(people.admin).pinned([people.erp])[people.erp].topic_id
    record = PartitionRecord(topic_id, unread.offset, paused_at=1_772_366_400.0)
    state = people.names.state("mapper", people.erp)
    people.produce(state, partition_key(unread.partition), record.to_json(), [], unread.partition)
    (newer,) = explained(people, "P12").newer.values()
    assert newer.state == "unread"
    assert "paused: too many dead letters" in newer.why
    assert newer.since_ms == 1_772_366_400_000
