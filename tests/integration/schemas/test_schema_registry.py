"""Contracts and a real registry: registered, looked up, refused; and read by a plain consumer of another make."""

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from typer.testing import CliRunner

from sluice.cli.schemas import app
from sluice.errors import DeadRecord, EnvironmentFault
from sluice.schemas import Registry, avro_schema, make_decoder, make_encoder
from support.canonical import CONTRACT, record

SCHEMA = avro_schema(CONTRACT, "workforce")


@pytest.fixture
def subject(topic_prefix: str) -> str:
    return f"{topic_prefix}canonical.worker-value"


def test_registering_twice_is_no_change_and_lookups_find_it(registry_url: str, subject: str, tmp_path: Path) -> None:
    registry = Registry(registry_url, tmp_path)
    schema_id = registry.register(subject, SCHEMA)
    assert registry.register(subject, SCHEMA) == schema_id
    assert registry.lookup_id(subject, SCHEMA) == schema_id
    assert registry.by_id(schema_id) == SCHEMA
    assert registry.latest(subject) == SCHEMA


def test_what_is_not_registered_names_the_command_to_run(registry_url: str, subject: str, tmp_path: Path) -> None:
    registry = Registry(registry_url, tmp_path)
    assert registry.latest(subject) is None
    with pytest.raises(EnvironmentFault, match="sluice schemas apply"):
        registry.lookup_id(subject, SCHEMA)
    with pytest.raises(DeadRecord, match="no schema 999999"):
        registry.by_id(999_999)


def test_the_registry_itself_refuses_what_readers_could_not_read(
    registry_url: str, subject: str, tmp_path: Path
) -> None:
    registry = Registry(registry_url, tmp_path)
    registry.register(subject, SCHEMA)
    registry.require_compatibility(subject)
    fields = [{**field, "type": "long"} if field["name"] == "full_name" else field for field in SCHEMA["fields"]]
    with pytest.raises(EnvironmentFault, match="incompatible"):
        registry.register(subject, {**SCHEMA, "fields": fields})
    fewer = [field for field in SCHEMA["fields"] if field["name"] != "remote"]
    registry.register(subject, {**SCHEMA, "fields": fewer})


def test_a_plain_avro_deserializer_reads_our_values(
    registry_url: str, subject: str, topic_prefix: str, tmp_path: Path
) -> None:
    value = make_encoder(CONTRACT, Registry(registry_url, tmp_path).register(subject, SCHEMA))(record())
    read = AvroDeserializer(SchemaRegistryClient({"url": registry_url}))
    found = read(value, SerializationContext(f"{topic_prefix}canonical.worker", MessageField.VALUE))
    assert found["full_name"] == "Zoë"
    assert str(found["base_pay"]["amount"]) == "-12.3000"
    assert found["_sluice"]["contributors"][0]["topic"] == "raw.workday.workers"


def test_our_decoder_reads_by_the_id_in_the_value(registry_url: str, subject: str, tmp_path: Path) -> None:
    registry = Registry(registry_url, tmp_path)
    value = make_encoder(CONTRACT, registry.register(subject, SCHEMA))(record())
    assert make_decoder(registry.by_id)(value).record() == record()


def _pipeline(folder: Path, prefix: str, scale: int) -> Path:
    (folder / "entities.py").write_text(
        "from decimal import Decimal\nfrom typing import Annotated\n"
        "from sluice.entities import Entity, Identity, Scale\n\n\n"
        "class Thing(Entity):\n    id: Annotated[str, Identity()]\n"
        f"    weight: Annotated[Decimal, Scale(10, {scale})]\n"
    )
    file = folder / "pipeline.yaml"
    file.write_text(
        f"pipeline: things\nkafka: {{prefix: {prefix}}}\n"
        "sources: {db: {cdc: postgres, dsn: {env: DB_DSN}, tables: [public.thing]}}\n"
    )
    return file


def test_the_commands_write_register_and_refuse(
    registry_url: str, topic_prefix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def run(scale: int, *arguments: str, folder: Path) -> tuple[int, dict[str, dict[str, object]]]:
        file = _pipeline(folder, topic_prefix, scale)
        asked = [*arguments, "--pipeline", str(file), "--json"]
        result = CliRunner().invoke(app, asked, env={"SLUICE_REGISTRY__URL": registry_url})
        return result.exit_code, json.loads(result.stdout.splitlines()[-1])

    subject = f"{topic_prefix}canonical.thing-value"
    first = tmp_path_factory.mktemp("first")
    assert run(3, "check", folder=first)[0] == 1
    code, printed = run(3, "apply", folder=first)
    assert (code, list(printed["ids"])) == (0, [subject])
    assert run(3, "apply", folder=first)[1] == printed
    assert run(3, "check", folder=first) == (0, {"ids": {}, "findings": {}})
    rescaled = tmp_path_factory.mktemp("rescaled")
    code, printed = run(2, "apply", folder=rescaled)
    assert (code, printed["findings"]) == (1, {subject: ["weight has scale 2, and had 3"]})
    assert not (rescaled / "schemas").exists()
