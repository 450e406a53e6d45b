"""`sluice explain` with logs and tables that the test writes itself."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.embedded import Servers
from sluice.explain import Explanation, explain, rendering
from sluice.explain.explanation import FieldExplained
from sluice.kafka.topics import Topics
from sluice.provenance import RawRef
from sluice.stage.partition_record import PartitionRecord, partition_key
from support.handmade import Handmade
from support.people import Person
from support.servers import drop_database


@pytest.fixture(scope="module")
def made(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Handmade]:
    """P1 in both sources, P2 without a name, P3 deleted, P4 known and not stored."""
    name = f"explain_{uuid.uuid4().hex[:10]}"
    servers.postgres.create_database(name)
    dsn, folder = servers.postgres.dsn(name), Path(tmp_path_factory.mktemp("people"))
    made = Handmade(servers.kafka.bootstrap_servers, servers.registry.url, dsn, f"{name}.", folder)
    response = made.response(int(time.time() * 1000))
    made.mapped(made.person("P1", "Ada", response, city="Kiel", email="ada@example.org"))
    made.mapped(made.staff("P1", "12.5", notes="from the ERP"))
    made.merged("P1")
    made.mapped(made.staff("P2", "7"))
    made.merged("P2")
    left = made.mapped(made.person("P3", "Alan"))
    made.merged("P3")
    made.retract(left, made.delete("P3"))
    made.merged("P3")
    made.finish()
    made.mapped(made.person("P4", "Edsger"))
    yield made
    drop_database(servers, name)


def explained(made: Handmade, entity_id: str, only: str | None = None) -> Explanation:
    return explain(made.pipeline, Person.contract(), made.settings, entity_id, only)


def field(of: Explanation, name: str) -> FieldExplained:
    return next(one for one in of.fields if one.name == name)


def test_each_value_has_its_source_record_rule_and_raw_record(made: Handmade) -> None:
    found = explained(made, "P1")
    assert found.state == "golden"
    notes = field(found, "notes")
    assert notes.value == "from the ERP"
    assert notes.rule == "prefer(erp,crm)"
    assert notes.origin is not None
    assert (notes.origin.source, notes.origin.stream) == ("erp", "public.staff")
    assert notes.origin.source_key == '{"id":1}'
    assert found.places[notes.origin.raw].state == "exists"
    assert not any(one.superseded for one in found.fields)


def test_a_polled_value_leads_to_the_stored_response(made: Handmade) -> None:
    found = explained(made, "P1", "city")
    (city,) = found.fields
    assert city.origin is not None
    response = found.places[city.origin.raw].response
    assert response is not None
    assert not response.expired
    (stored,) = [one for one in made.records(made.names.responses("crm")) if one.offset == response.offset]
    assert stored.key == response.response_id.encode()


def test_a_response_that_is_deleted_is_shown_as_expired(made: Handmade) -> None:
    deleted = f"{int(time.time() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | 0xABC:032x}"
    made.mapped(made.person("P5", "Barbara", str(uuid.UUID(deleted))))
    made.merged("P5")
    made.finish()
    found = explained(made, "P5", "name")
    assert "expired" in "\n".join(rendering.lines(found))


def test_a_claim_that_lost_is_shown(made: Handmade) -> None:
    made.mapped(made.person("P6", "Grace"))
    other = made.person("P7", "Grace Hopper")
    made.mapped(other, entity_id="P6")
    made.merged("P6")
    made.finish()
    (losing,) = field(explained(made, "P6"), "name").losing
    assert losing.value == "Grace Hopper"
    assert losing.origin.source_key == '{"id":"P7"}'


def test_an_incomplete_entity_names_what_it_lacks(made: Handmade) -> None:
    found = explained(made, "P2")
    assert (found.state, found.missing) == ("withheld", ("name",))
    assert field(found, "pay").value == {"amount": "7.0000", "currency": "EUR"}
    assert "no value for required name" in next(iter(rendering.lines(found)))


@pytest.mark.parametrize(("entity_id", "state"), [("P3", "deleted"), ("P4", "not-stored"), ("P99", "unknown")])
def test_an_entity_without_a_golden_record_has_a_state(made: Handmade, entity_id: str, state: str) -> None:
    assert explained(made, entity_id).state == state


def test_a_newer_claim_that_is_not_stored_yet_is_pointed_out(made: Handmade) -> None:
    made.mapped(made.staff("P1", "99", notes="from the ERP"))
    assert field(explained(made, "P1"), "pay").superseded
    assert not field(explained(made, "P1"), "notes").superseded


def environment(made: Handmade) -> dict[str, str]:
    return {
        "SLUICE_PIPELINE": str(made.settings.pipeline),
        "SLUICE_STATE_DIR": str(made.settings.state_dir),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": made.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": made.settings.registry.url,
    }


def test_the_command_takes_an_id_as_a_source_spells_it(made: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "p1", "name", "--json"], env=environment(made))
    assert done.exit_code == 0, done.output
    (name,) = orjson.loads(done.stdout.splitlines()[-1])["fields"]
    assert name["value"] == "Ada"
    assert name["origin"]["source_key"] == '{"id":"P1"}'
    assert name["raw"]["response"]["expired"] is False


def test_a_stored_response_is_shown_its_body_alone_on_stdout(made: Handmade) -> None:
    response_id = made.response(int(time.time() * 1000), b'{"data":[1]}')
    done = CliRunner().invoke(app, ["responses", "show", response_id], env=environment(made))
    assert done.exit_code == 0, done.output
    assert done.stdout == '{"data":[1]}'
    assert "GET https://crm/people?page=1\nstatus 403, fetched 2" in done.stderr
    assert "content-type: application/json" in done.stderr


def test_a_stored_response_is_one_json_object_whatever_its_body_is(made: Handmade) -> None:
    response_id = made.response(int(time.time() * 1000), b"\xff")
    done = CliRunner().invoke(app, ["responses", "show", response_id, "--json"], env=environment(made))
    printed = orjson.loads(done.stdout)
    assert (printed["id"], printed["status"], printed["body_base64"], printed["body_bytes"]) == (
        response_id,
        403,
        "/w==",
        1,
    )


def test_an_unknown_response_is_a_finding_and_a_malformed_id_a_wrong_argument(made: Handmade) -> None:
    never = str(uuid.UUID(int=int(time.time() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | 0xDEF))
    done = CliRunner().invoke(app, ["responses", "show", never], env=environment(made))
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"no response {never} in {made.names.responses('crm')}" in done.stderr
    done = CliRunner().invoke(app, ["responses", "show", "17"], env=environment(made))
    assert done.exit_code == 2
    assert "'17' is no id of a response" in done.stderr


def test_an_unknown_id_is_a_finding(made: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "P0"], env=environment(made))
    assert done.exit_code == 1
    assert "contributions have no claim to person P0" in done.stderr


def test_an_unknown_field_names_the_known_ones(made: Handmade) -> None:
    done = CliRunner().invoke(app, ["explain", "person", "P1", "salary"], env=environment(made))
    assert done.exit_code == 2
    assert "there are number, name, email" in done.stderr


def test_a_newer_record_that_is_parked_is_named_and_not_quoted(made: Handmade) -> None:
    made.mapped(made.person("P8", "Ada", city="Kiel"))
    made.merged("P8")
    parked = made.person("P8", "Countess", city="London")
    made.dead_letter("mapper", parked)
    made.finish()
    found = explained(made, "P8")
    (newer,) = found.newer.values()
    assert (newer.state, newer.raw) == ("parked", RawRef(*parked[:3]))
    (dead_letter,) = [one for one in made.records(made.names.dlq("mapper")) if one.key == parked.key]
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


def test_a_parked_record_that_is_older_than_a_claim_is_not_named(made: Handmade) -> None:
    made.mapped(made.staff("P10", "1"))
    made.dead_letter("mapper", made.staff("P10", "2"))
    assert explained(made, "P10").newer
    made.mapped(made.staff("P10", "3"))
    made.finish()
    assert not explained(made, "P10").newer


def test_a_newer_record_that_the_mapper_has_not_read_is_named(made: Handmade) -> None:
    made.mapped(made.person("P11", "Ada"))
    made.merged("P11")
    made.finish()
    unread = made.person("P11", "Lovelace")
    (newer,) = explained(made, "P11").newer.values()
    assert (newer.state, newer.raw, newer.dead_letter) == ("unread", RawRef(*unread[:3]), None)
    assert "the mapper has not read it yet" in newer.why


def test_a_newer_record_of_a_paused_partition_names_the_pause(made: Handmade) -> None:
    made.mapped(made.staff("P12", "1"))
    made.finish()
    unread = made.staff("P12", "2")
    topic_id = Topics(made.admin).pinned([made.erp])[made.erp].topic_id
    record = PartitionRecord(topic_id, unread.offset, paused_at=1_772_366_400.0)
    state = made.names.state("mapper", made.erp)
    made.produce(state, partition_key(unread.partition), record.to_json(), [], unread.partition)
    (newer,) = explained(made, "P12").newer.values()
    assert newer.state == "unread"
    assert "paused: too many dead letters" in newer.why
    assert newer.since_ms == 1_772_366_400_000
