"""A followed source with Debezium's settings: what is read, what is refused by name, and where secrets come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from sluice.errors import SettingsError
from sluice.pipeline import CdcSource, load_pipeline
from sluice.pipeline.secret import variables_in

CONFIG = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "database.hostname": "db.example.org",
    "database.port": "5433",
    "database.user": "reader",
    "database.password": "it's \\ a secret",
    "database.dbname": "shop",
    "database.sslmode": "require",
    "topic.prefix": "raw.shop",
    "table.include.list": r"public.offer,public\.price",
    "plugin.name": "pgoutput",
    "slot.name": "shop_slot",
    "publication.name": "shop_publication",
    "publication.autocreate.mode": "disabled",
}
CONNECTED = {"dsn": {"env": "SHOP_DSN"}, "tables": ["public.offer"]}


def source(folder: Path, debezium: Any, **members: Any) -> CdcSource:
    written = {"pipeline": "p", "sources": {"shop": {"cdc": "postgres", "debezium": debezium, **members}}}
    (folder / "pipeline.yaml").write_text(json.dumps(written))
    return load_pipeline(folder).cdc_sources()["shop"]


def refusal(folder: Path, debezium: Any, **members: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        source(folder, debezium, **members)
    return str(refused.value)


@pytest.mark.parametrize("content", [CONFIG, {"name": "shop-connector", "config": CONFIG}])
def test_a_connector_s_configuration_is_taken_as_it_is(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "shop.json").write_text(json.dumps(content))
    read = source(tmp_path, "shop.json")
    assert read.tables == ["public.offer", "public.price"]
    assert (read.slot, read.publication, read.creates_publication) == ("shop_slot", "shop_publication", False)
    assert conninfo_to_dict(read.dsn.reveal()) == {
        "host": "db.example.org",
        "port": "5433",
        "user": "reader",
        "password": "it's \\ a secret",
        "dbname": "shop",
        "sslmode": "require",
    }
    assert "a secret" not in f"{read!r}{read.debezium}{read.model_dump()}"


def test_what_is_not_set_has_debezium_s_default(tmp_path: Path) -> None:
    settings = source(tmp_path, {"tombstones.on.delete": False}, **CONNECTED).debezium
    assert settings is not None
    assert not settings.flag("tombstones.on.delete")
    assert settings.text("decimal.handling.mode") == "precise"
    assert settings.names("skipped.operations") == ("t",)
    assert settings.number("incremental.snapshot.chunk.size") == 1024
    assert not settings.is_given("decimal.handling.mode")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("decimal.handling.mod", "precise", "no such setting; is decimal.handling.mode meant?"),
        ("decimal.handling.mode", "exact", "one of precise, double, string is expected"),
        ("provide.transaction.metadata", "perhaps", "true or false is expected"),
        ("heartbeat.interval.ms", "10s", "a whole number is expected"),
        ("transforms", "route", "it is not supported. Next: change the records in the mapping"),
        ("transforms.route.type", "io.debezium.transforms.ByLogicalTableRouter", "it is not supported. Next: "),
        ("plugin.name", "decoderbufs", "decoderbufs is not supported. Next: set plugin.name to pgoutput"),
        ("snapshot.mode", "always", "always is not supported. Next: "),
        ("connector.class", "io.debezium.connector.mysql.MySqlConnector", "Sluice follows PostgreSQL"),
        ("topic.prefix", "shop", "topic.prefix: it is raw.shop, because"),
        ("table.exclude.list", "public\\..*", "table.exclude.list leaves out public.offer"),
        ("table.include.list", "public.(", "part 1 is not a regular expression"),
        ("database.include.list", "shop", "a source is one database"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, name: str, value: str, said: str) -> None:
    text = refusal(tmp_path, {name: value}, **CONNECTED)
    assert "sources.shop" in text
    assert name in text
    assert said in text


def test_a_refused_setting_is_accepted_with_debezium_s_default(tmp_path: Path) -> None:
    assert source(tmp_path, {"read.only": "false", "transforms": "", "flush.lsn.source": True}, **CONNECTED).debezium


def test_an_ignored_setting_is_accepted_with_any_value(tmp_path: Path) -> None:
    assert source(tmp_path, {"max.batch.size": "4096", "producer.override.linger.ms": 5}, **CONNECTED).debezium


@pytest.mark.parametrize("password", ["${env:SHOP_PASSWORD}", {"env": "SHOP_PASSWORD"}])
def test_a_password_may_be_a_reference_to_a_variable(
    tmp_path: Path, password: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "from the environment")
    read = source(tmp_path, {**CONFIG, "database.password": password})
    assert conninfo_to_dict(read.dsn.reveal())["password"] == "from the environment"
    assert variables_in(read.model_dump()) == {"SHOP_PASSWORD"}


def test_a_password_may_be_a_property_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "secrets.properties").write_text("user=u\npassword = from=the file\n")
    read = source(tmp_path, {**CONFIG, "database.password": f"${{file:{tmp_path}/secrets.properties:password}}"})
    assert conninfo_to_dict(read.dsn.reveal())["password"] == "from=the file"
    missing = source(tmp_path, {**CONFIG, "database.password": f"${{file:{tmp_path}/secrets.properties:token}}"})
    with pytest.raises(SettingsError, match="it has no property token"):
        missing.dsn.reveal()


def test_the_pipeline_file_does_not_contain_a_password(tmp_path: Path) -> None:
    text = refusal(tmp_path, CONFIG)
    assert "database.password: write ${env:NAME}" in text
    assert "a secret" not in text.replace("never the secret", "")


def test_patterns_choose_among_the_listed_tables(tmp_path: Path) -> None:
    listed = {"dsn": {"env": "SHOP_DSN"}, "tables": ["public.offer", "other.price"]}
    assert source(tmp_path, {"table.include.list": r"public\..*,OTHER[.]price"}, **listed).tables == listed["tables"]
    text = refusal(tmp_path, {"table.include.list": r"public\..*"}, **listed)
    assert "table.include.list leaves out other.price" in text
    text = refusal(tmp_path, {"table.include.list": r"public\..*"}, dsn={"env": "SHOP_DSN"})
    assert "list them in tables:, next to debezium:" in text


def test_a_slot_that_is_named_twice_is_named_alike(tmp_path: Path) -> None:
    assert "slot.name and slot: differ" in refusal(tmp_path, {"slot.name": "a"}, slot="b", **CONNECTED)
    assert source(tmp_path, {"slot.name": "a"}, slot="a", **CONNECTED).slot == "a"


def test_exact_events_need_debezium_s_settings(tmp_path: Path) -> None:
    assert source(tmp_path, {}, debezium_exact=True, **CONNECTED).debezium_exact
    assert "Next: add debezium: {}" in refusal(tmp_path, None, debezium_exact=True, **CONNECTED)
