"""`sluice mappings check` finds an author's mistakes without a server; the exit code is that of settings."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from support.people import PIPELINE
from support.repository import ROOT

FOLDER = ROOT / "examples" / "workforce"


def test_it_prints_versions_examples_and_what_counts_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_PIPELINE", raising=False)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(FOLDER), "--json"])
    assert done.exit_code == 0, done.output
    worker = orjson.loads(done.stdout)["mappings"]["worker"]
    assert worker["examples"] == len(list(Path(FOLDER).glob("sources/hr/examples/workers/*.json")))
    assert worker["counts"].startswith("entities.py, sources/hr/mapping.py, pydantic ")
    assert len(worker["code"]) == 64


def test_a_stream_that_no_mapping_reads_is_named_and_is_no_mistake(tmp_path: Path) -> None:
    text = PIPELINE.format(prefix="test.", dsn_file=tmp_path / "dsn")
    (tmp_path / "pipeline.yaml").write_text(text.replace("streams:", f"settings: {{{GOOD}}}, streams:"))
    (tmp_path / "entities.py").write_text("from support.people import Person as Person\n")
    for source, text in (("crm", "from support.people import crm_person as crm_person\n"), ("erp", "")):
        (tmp_path / "sources" / source).mkdir(parents=True)
        (tmp_path / "sources" / source / "mapping.py").write_text(text)
    (tmp_path / "sources" / "crm" / "connector.py").write_text(CONNECTOR)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "no mapping reads erp.public.staff: its records reach no entity" in done.stdout
    as_json = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path), "--json"])
    assert orjson.loads(as_json.stdout)["unmapped"] == ["erp.public.staff"]


def test_a_missing_pipeline_file_is_an_error_of_settings(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path)])
    assert done.exit_code == 2
    assert "pipeline.yaml" in done.stderr


CONNECTOR = """
from datetime import timedelta
from typing import Any, ClassVar
from pydantic import SecretStr
from sluice.connector import Connector, ConnectorSettings, RestStream


class Settings(ConnectorSettings):
    key: SecretStr
    pages: int = 3


class People(RestStream[dict[str, Any]]):
    path, records, key = "/people", "data", "id"


class Crm(Connector[Settings]):
    streams: ClassVar = {"people": People}


class NoConnector:
    pass
"""
YAML = """
pipeline: people
entities: entities
sources:
  crm:
    poll: sources.crm.connector:{kind}
    settings: {{{settings}}}
    streams: {{{stream}: {{}}}}
"""
ENTITIES = """
from typing import Annotated
from sluice.entities import Entity, Identity, prefer


class Person(Entity):
    number: Annotated[str, Identity()]
    name: Annotated[str | None, prefer("{ranked}", skip_null=True)]
"""
GOOD = 'base_url: "https://crm.example.org", key: {env: CRM_KEY}'


def checked(folder: Path, kind: str = "Crm", settings: str = GOOD, stream: str = "people") -> tuple[int, str]:
    source = folder / "sources" / "crm"
    source.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(YAML.format(kind=kind, settings=settings, stream=stream))
    (folder / "entities.py").write_text(ENTITIES.format(ranked="crm"))
    (source / "mapping.py").write_text("")
    (source / "connector.py").write_text(CONNECTOR)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(folder)])
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLUICE_PIPELINE", raising=False)
    monkeypatch.setenv("CRM_KEY", "s3cret")
    return tmp_path


def test_connectors_are_loaded_and_their_streams_named(folder: Path) -> None:
    code, output = checked(folder)
    assert code == 0, output
    assert "connector of crm: sources.crm.connector:Crm, login none" in output
    how = "/people; records in data; key id; no cursor: everything is listed each time; SinglePage"
    assert f"    stream people: {how}\n" in output
    assert "not checked" not in output


@pytest.mark.parametrize(
    ("more", "publication"),
    [("", "sluice_people_shop, created by Sluice"), ("publication: dba_made, ", "dba_made")],
)
def test_how_a_database_is_followed_is_printed(folder: Path, more: str, publication: str) -> None:
    checked(folder)
    file = folder / "pipeline.yaml"
    shop = f"  shop: {{cdc: postgres, dsn: {{env: SHOP_DSN}}, {more}tables: [public.offer, public.stock]}}\n"
    file.write_text(file.read_text() + shop)
    (folder / "sources" / "shop").mkdir()
    (folder / "sources" / "shop" / "mapping.py").write_text("")
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(folder)])
    assert done.exit_code == 0, done.output
    followed = f"database of shop: slot sluice_people_shop, publication {publication}\n"
    assert f"{followed}    table public.offer\n    table public.stock\n" in done.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "Crn"}, "connector.py (is Crm meant?)"),
        (
            {"settings": GOOD.replace("{env: CRM_KEY}", "s3cret")},
            "sources.crm.settings.key: a secret is written in the file",
        ),
        ({"kind": "NoConnector"}, "sources.crm.connector:NoConnector is not a sluice.connector.Connector"),
        (
            {"settings": "key: {env: CRM_KEY}"},
            "pipeline.yaml:7: sources.crm.settings.base_url: it is required, and missing",
        ),
        ({"settings": GOOD + ", pages: many"}, "sources.crm.settings.pages: Input should be a valid integer"),
        ({"settings": GOOD + ", kay: 1"}, "pipeline.yaml:7: sources.crm.settings.kay: no such setting (is key meant?)"),
        ({"settings": 'base_url: "crm.example.org", key: {env: CRM_KEY}'}, "sources.crm.settings.base_url: "),
        ({"stream": "persons"}, "sources.crm.streams.persons: the connector has no such stream (there are people)"),
    ],
)
def test_what_a_poller_would_refuse_is_refused_before_anything_runs(
    folder: Path, wrong: dict[str, str], message: str
) -> None:
    code, output = checked(folder, **wrong)
    assert code == 2
    assert message in output
    assert "s3cret" not in output


def test_a_setting_whose_variable_is_not_set_is_not_checked_and_that_is_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_KEY")
    code, output = checked(folder)
    assert code == 0, output
    assert "not checked: the settings that need CRM_KEY" in output


def test_a_misspelt_setting_is_refused_although_its_variable_is_not_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRM_KEY")
    code, output = checked(folder, settings=GOOD.replace("key:", "kay:"))
    assert code == 2
    assert "sources.crm.settings.kay: no such setting (is key meant?)" in output
    assert "sources.crm.settings.key: it is required, and missing" in output


WORKING = """
from pydantic import BaseModel
from sluice.entities import mapping
from ...entities import Person


class Row(BaseModel):
    id: int
    name: str


@mapping(source="{source}", version=1)
def row(raw: Row) -> Person:
    return Person(number=str(raw.id), name=raw.name)
"""


def authored(folder: Path, ranked: str = "crm", source: str = "crm.people", connector: str = CONNECTOR) -> Path:
    """A pipeline that is right, but for what the test says; its stream has one example."""
    crm = folder / "sources" / "crm"
    (crm / "examples" / "people").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(YAML.format(kind="Crm", settings=GOOD, stream="people"))
    (folder / "entities.py").write_text(ENTITIES.format(ranked=ranked))
    (crm / "mapping.py").write_text(WORKING.format(source=source))
    (crm / "connector.py").write_text(connector)
    (crm / "examples" / "people" / "ada.json").write_text('{"id": 7, "name": "Ada"}')
    return folder


def check(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(folder)])
    return done.exit_code, done.output


def test_it_prints_each_field_as_it_was_understood_and_what_examples_become(folder: Path) -> None:
    code, output = check(authored(folder))
    assert code == 0, output
    assert "sources in order: crm\n" in output
    assert "entity person\n    number  text          identity\n" in output
    assert "    name    text or null  prefer(crm; skip_null)\n" in output
    assert 'sources/crm/examples/people/ada.json → person 7\n        number "7"\n        name "Ada"\n' in output
    as_json = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(folder), "--json"])
    read = orjson.loads(as_json.stdout)
    assert read["entities"]["person"]["name"] == {"column": "text or null", "rule": "prefer(crm; skip_null)"}
    assert read["connectors"]["crm"]["login"] == "none"


def test_a_rule_that_ranks_an_unknown_source_is_refused(folder: Path) -> None:
    code, output = check(authored(folder, ranked="crn"))
    assert code == 2
    assert "entities.Person.name: prefer(crn; skip_null) ranks source crn, which " in output
    assert "(is crm meant?)" in output


def test_for_a_mapping_of_an_unknown_stream_the_nearest_known_one_is_named(folder: Path) -> None:
    code, output = check(authored(folder, source="crm.peple"))
    assert code == 2
    assert "mapping row reads crm.peple, which " in output
    assert "does not declare (is crm.people meant?)" in output


def test_examples_of_no_stream_are_refused(folder: Path) -> None:
    examples = authored(folder) / "sources" / "crm" / "examples"
    (examples / "people").rename(examples / "peoples")
    code, output = check(folder)
    assert code == 2
    assert "sources/crm/examples/peoples: source crm has no stream peoples (is people meant?)" in output


@pytest.mark.parametrize(
    ("declared", "wrong", "refusal"),
    [
        ('"data", "id"', '"data", "ID"', "people/ada.json: key field ID is missing"),
        (
            '"data", "id"',
            '"data", "id"\n    cursor = Cursor("modifedAt")',
            "examples/people: no example has the cursor's member modifedAt",
        ),
        (
            "streams: ClassVar",
            "login = print\n    streams: ClassVar",
            "login, which is never called. Next: name it auth",
        ),
        (
            "class NoConnector",
            "    def auth(self):\n        pass\n\n\nclass NoConnector",
            "auth returns NoneType, which is",
        ),
        ('path, records, key = "/people", "data", "id"', 'path, records = "/people", "data"', "People declares no key"),
        ('path, records, key = "/people", "data", "id"', 'records, key = "data", "id"', "People declares no path"),
        ('"data", "id"', '"data", "id"\n    cursor = "modified"', 'Next: write cursor = Cursor("modifiedAt")'),
        ('"data", "id"', '"data", "id"\n    paging = Cursor', "paging is a class; write Cursor(…)"),
        ('{"people": People}', '{"people": None}', "Crm.streams['people'] is not a class of a stream"),
        ("import Connector,", "import Conector,", "is Connector meant?"),
        (
            '"data", "id"',
            '"data", "id"\n    looks_before_delete = 5',
            "connector.py:13: People.looks_before_delete is now listings_before_delete. Next: rename it",
        ),
        (
            "streams: ClassVar",
            "limit = 5\n    streams: ClassVar",
            "connector.py:17: Crm.limit: no such member (is limits ",
        ),
        (
            '"data", "id"',
            '"data", "id"\n    cursor = Cursor(5)',
            "pipeline.yaml:8: sources.crm.streams.people: making sources.crm.streams.people failed with ",
        ),
    ],
    ids=[
        "key",
        "cursor",
        "method",
        "login",
        "no key",
        "no path",
        "cursor's text",
        "paging",
        "streams",
        "import",
        "old",
        "unknown",
        "value",
    ],
)
def test_what_a_connector_misspells_is_refused(folder: Path, declared: str, wrong: str, refusal: str) -> None:
    text = CONNECTOR.replace("import Connector,", "import Connector, Cursor,")
    code, output = check(authored(folder, connector=text.replace(declared, wrong)))
    assert code == 2
    assert refusal in output
    assert "Traceback" not in output


def test_a_null_cursor_is_a_cursor_and_a_folder_no_example(folder: Path) -> None:
    text = CONNECTOR.replace("import Connector,", "import Connector, Cursor,")
    connector = text.replace('"data", "id"', '"data", "id"\n    cursor = Cursor("meta.at")')
    examples = authored(folder, connector=connector) / "sources" / "crm" / "examples" / "people"
    (examples / "folder.json").mkdir()
    (examples / "ada.json").write_text('{"id": 7, "name": "Ada", "meta": {"at": null}}')
    assert check(folder)[0] == 0
    (examples / "ada.json").write_text('{"id": 7, "name": "Ada", "meta": "x"}')
    assert "no example has the cursor's member meta.at" in check(folder)[1]


def test_a_login_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed = CONNECTOR.replace("RestStream\n", "RestStream, ApiKeyAuth\n").replace(
        "class NoConnector", "    def auth(self):\n        return ApiKeyAuth(self.settings.key)\n\n\nclass NoConnector"
    )
    assert "login ApiKeyAuth" in check(authored(folder, connector=signed))[1]
    monkeypatch.delenv("CRM_KEY")
    output = check(folder)[1]
    assert "login by its method auth" in output
    assert "not set here: CRM_KEY" in output
