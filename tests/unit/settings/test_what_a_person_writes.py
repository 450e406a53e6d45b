"""What a person writes wrong is answered by one line that says where, in a person's words, with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.errors import SettingsError
from sluice.pipeline import Secret
from sluice.settings.stage import StageSettings, read_settings

PIPELINE = """\
pipeline: people
kafka: {prefix: test.}
sources:
  crm:
    poll: sources.crm.connector:Crm
    settings: {base_url: 'https://crm', token: {env: CRM_TOKEN}}
    streams: {people: {freshness: 1m}}
  erp:
    cdc: postgres
    dsn: {env: ERP_DSN}
    tables:
      - public.staff
sinks:
  warehouse: {postgres: {env: SINK_DSN}}
"""


def written(folder: Path, text: str | bytes = PIPELINE) -> Path:
    """A pipeline's folder; nothing in it is wrong but `text`."""
    file = folder / "pipeline.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "entities.py").write_text("from support.people import Person as Person\n")
    for source in ("crm", "erp"):
        (folder / "sources" / source).mkdir(parents=True)
        (folder / "sources" / source / "mapping.py").write_text("")
    return file


def answer(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code of the command, run as a process of its own, and all that it says on stderr."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    command = [sys.executable, "-m", "sluice.cli.main", *arguments]
    done = subprocess.run(
        command, env={**known, **(environment or {})}, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stderr


def in_the_file(right: str, wrong: str, reason: str, name: str) -> object:
    return pytest.param(PIPELINE.replace(right, wrong), reason, id=name)


DEEP = "pipeline: " + "[" * 5_000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [*{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}]\n"
    for b, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        in_the_file("sinks:\n", "sinks: {}\nsinks:\n", ":14: sinks is given twice, first in line 13", "key twice"),
        in_the_file(
            "    dsn:", "    cdc: postgres\n    dsn:", ":10: sources.erp.cdc is given twice", "key twice, within"
        ),
        in_the_file(
            "- public.staff",
            "- public.staff\n      - public.staff",
            ":13: sources.erp.tables.1: public.staff is listed twice",
            "table twice",
        ),
        in_the_file("      - public.staff\n", "      []\n", "sources.erp.tables: ", "no tables"),
        pytest.param(
            "pipeline: people\nsources: {}\n", ":2: sources: it is empty; at least one is required", id="no sources"
        ),
        pytest.param("pipeline: people\n", ":1: sources: it is required, and missing", id="sources left out"),
        in_the_file("{people: {freshness: 1m}}", "{}", ":7: sources.crm.streams: ", "no streams"),
        in_the_file(
            "people: {freshness",
            "people: {freshnes",
            ":7: sources.crm.streams.people.freshnes: no such member; is freshness meant?",
            "misspelt",
        ),
        in_the_file("freshness: 1m", "freshness: -1", ":7: sources.crm.streams.people.freshness: ", "negative"),
        in_the_file("freshness: 1m", "freshness: .nan", ":7: sources.crm.streams.people.freshness: ", "no number"),
        in_the_file("freshness: 1m", "freshness: .inf", ":7: sources.crm.streams.people.freshness: ", "no end"),
        in_the_file("freshness: 1m", "freshness: true", ":7: sources.crm.streams.people.freshness: ", "yes"),
        in_the_file(
            "pipeline: people",
            "pipeline: people\npartitions: true",
            ":2: partitions: a whole number is expected",
            "partitions: yes",
        ),
        in_the_file("pipeline: people", "pipeline: people\npartitions: -3", ":2: partitions: ", "negative partitions"),
        in_the_file("pipeline: people", "pipeline: 7", ":1: pipeline: a text is expected", "a number for a name"),
        in_the_file("prefix: test.", "prefix: 'a b/'", ":2: kafka.prefix: ", "prefix"),
        in_the_file("prefix: test.", f"prefix: {'p' * 240}", ":2: kafka.prefix: ", "prefix too long"),
        in_the_file("public.staff", "public.the staff", ":12: sources.erp.tables.0: ", "table that is no topic"),
        in_the_file("public.staff", f"public.{'s' * 240}", ":12: sources.erp.tables.0: ", "table too long"),
        in_the_file("    dsn:", "    slot: Big-Slot\n    dsn:", ":10: sources.erp.slot: ", "slot"),
        in_the_file(
            "{env: SINK_DSN}}", "{env: SINK_DSN}, schema: pg_catalog}", ":14: sinks.warehouse.schema: ", "pg_catalog"
        ),
        in_the_file(
            "{env: SINK_DSN}}",
            "{env: SINK_DSN}, schema: information_schema}",
            ":14: sinks.warehouse.schema: ",
            "information_schema",
        ),
        in_the_file("{env: SINK_DSN}}", "{env: SINK_DSN}, schema: pg_mine}", ":14: sinks.warehouse.schema: ", "pg_"),
        in_the_file(
            "sinks:\n",
            "sinks:\n  first: {postgres: {env: SINK_DSN}}\n",
            ":15: sinks.warehouse: sink first writes to schema golden of the same database",
            "two sinks, one schema",
        ),
        in_the_file("sources.crm.connector:Crm", "sources.crm.connector", ":5: sources.crm.poll: ", "no class named"),
        in_the_file("sources.crm.connector:Crm", "../connector:Crm", ":5: sources.crm.poll: ", "no module's name"),
        in_the_file(
            "token: {env: CRM_TOKEN}",
            "token: {env: A, file: b}",
            ":6: sources.crm.settings: a secret is {env: NAME} or {file: path}",
            "two secrets",
        ),
        in_the_file(
            "token: {env: CRM_TOKEN}",
            "token: {env: 5}",
            ":6: sources.crm.settings: a secret is {env: NAME} or {file: path}",
            "no secret",
        ),
        in_the_file("{env: SINK_DSN}", "{env: ''}", ":14: sinks.warehouse.postgres", "no variable"),
        in_the_file("pipeline: people", "pipeline: people\nentities: ../other", ":2: entities: ", "no module"),
        in_the_file("pipeline: people", "pipeline: people\n7: 8", ": ", "a number for a key"),
        pytest.param("", ":1: a pipeline file is a mapping", id="empty"),
        pytest.param("- pipeline\n", ":1: a pipeline file is a mapping", id="a list"),
        pytest.param("pipeline: [\n", ": not YAML: ", id="no yaml"),
        pytest.param("pipeline: a\n---\npipeline: b\n", ": not YAML: ", id="two documents"),
        pytest.param(PIPELINE.encode() + b"# caf\xe9\n", ":15: not UTF-8", id="latin 1"),
        pytest.param(PIPELINE.encode() + b"# \x07\n", ":15: not YAML: ", id="a bell"),
        pytest.param(DEEP, "nested too deeply", id="nested"),
        pytest.param(BOMB, "anchors", id="anchors"),
        pytest.param("pipeline: &a [*a]\n", "anchors", id="an anchor within itself"),
        pytest.param("pipeline: x\n#" + "x" * 2_000_000, "is larger than", id="large"),
    ],
)
def test_a_mistake_in_the_pipeline_file_is_one_line_with_its_place(
    tmp_path: Path, text: str | bytes, reason: str
) -> None:
    file = written(tmp_path, text)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(file)])
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sluice: {file}")
    assert reason in line


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"SLUICE_KAFKA__BOOTSTRAP": "h:1"},
            "SLUICE_KAFKA__BOOTSTRAP: no such setting; is SLUICE_KAFKA__BOOTSTRAP_SERVERS meant?",
        ),
        ({"SLUICE_STATEDIR": "/state"}, "SLUICE_STATEDIR: no such setting; is SLUICE_STATE_DIR meant?"),
        ({"SLUICE_TELEMETRY_PORT": "1"}, "SLUICE_TELEMETRY_PORT: no such setting; is SLUICE_TELEMETRY__PORT meant?"),
        ({"SLUICE_KAFKA__OPTIONS": "{security.protocol: SSL}"}, "SLUICE_KAFKA__OPTIONS: is not JSON"),
        ({"SLUICE_KAFKA": "h:1"}, "SLUICE_KAFKA: is not JSON"),
        ({"SLUICE_KAFKA__OPTIONS": '["a"]'}, "SLUICE_KAFKA__OPTIONS: "),
        ({"SLUICE_KAFKA__OPTIONS": '{"linger.ms": 5}'}, "SLUICE_KAFKA__OPTIONS: linger.ms: "),
        (
            {"SLUICE_KAFKA__OPTIONS": '{"securty.protocol": "SSL"}'},
            'SLUICE_KAFKA__OPTIONS: librdkafka refuses it: No such configuration property: "securty.protocol"',
        ),
        (
            {"SLUICE_KAFKA__OPTIONS": '{"security.protocol": "hunter2"}'},
            'SLUICE_KAFKA__OPTIONS: librdkafka refuses it: Invalid value … for configuration property "security.',
        ),
        ({"SLUICE_KAFKA__OPTIONS": '{"error_cb": "hunter2"}'}, "SLUICE_KAFKA__OPTIONS: librdkafka refuses it"),
        (
            {"SLUICE_KAFKA__OPTIONS": '{"enable.auto.commit": "true"}'},
            "SLUICE_KAFKA__OPTIONS: only Sluice sets enable.auto.commit",
        ),
        ({"SLUICE_KAFKA__OPTIONS__sasl.pasword": "x"}, "SLUICE_KAFKA__OPTIONS: librdkafka refuses it: No such"),
        (
            {"SLUICE_KAFKA__BOOTSTRAP_SERVERS": "h:1 h:2"},
            "SLUICE_KAFKA__BOOTSTRAP_SERVERS: an address is written host:port",
        ),
        ({"SLUICE_KAFKA__GROUP_PROTOCOL": "eager"}, "SLUICE_KAFKA__GROUP_PROTOCOL: "),
        ({"SLUICE_REGISTRY__URL": "registry:8081"}, "SLUICE_REGISTRY__URL: an address starts with http"),
        ({"SLUICE_TELEMETRY__PORT": "99999"}, "SLUICE_TELEMETRY__PORT: "),
        ({"SLUICE_TELEMETRY__PORT": "-1"}, "SLUICE_TELEMETRY__PORT: "),
        ({"SLUICE_BATCH_BYTES_MAX": "-1"}, "SLUICE_BATCH_BYTES_MAX: "),
        ({"SLUICE_BATCH_RECORDS_MAX": "many"}, "SLUICE_BATCH_RECORDS_MAX: "),
        ({"SLUICE_INSTANCE": "a/b"}, "SLUICE_INSTANCE: "),
    ],
    ids=str,
)
def test_a_variable_that_is_wrong_is_one_line_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], reason: str
) -> None:
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    file = written(tmp_path)
    done = CliRunner().invoke(app, ["topics", "check"], env={"SLUICE_PIPELINE": str(file), **variables})
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sluice: {reason}")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["dev", "up", "--state-dir", "/proc/missing"], "state directory /proc/missing: cannot be written"),
        (["dev", "up", "--state-dir", "{folder}/pipeline.yaml"], "state directory {folder}/pipeline.yaml: "),
        (["schemas", "check", "--registry", "registry:8081"], "the registry's address, SLUICE_REGISTRY__URL, begins"),
    ],
    ids=lambda given: given[0] if isinstance(given, list) else "",
)
def test_an_option_that_is_wrong_is_one_line(tmp_path: Path, command: list[str], reason: str) -> None:
    file = written(tmp_path)
    given = [part.format(folder=tmp_path) for part in command]
    done = CliRunner().invoke(app, [*given, "--pipeline", str(file)])
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sluice: {reason.format(folder=tmp_path)}")


def test_variables_of_others_are_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, PIPELINE.replace("ERP_DSN", "SLUICE_ERP_DSN"))
    others = {
        "SLUICE_ERP_DSN": "a secret of the pipeline's",
        "SLUICE_KAFKA_SERVICE_HOST": "10.0.0.1",
        "SLUICE_KAFKA_PORT": "tcp://10.0.0.1:9092",
        "SLUICE_KAFKA_PORT_9092_TCP_ADDR": "10.0.0.1",
        "SLUICE_SEED": "1",
        "SLUICE_TEST_ANYTHING": "1",
        "SLUICE_KAFKA__OPTIONS__sasl.password": "hunter2",
        "SLUICE_POLLER__PAGES_MAX": "2",
    }
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    assert read_settings(StageSettings, file).kafka.options == {"sasl.password": "hunter2"}
    with pytest.raises(SettingsError, match="SLUICE_ERP_DSN"):
        read_settings(StageSettings, tmp_path / "other.yaml")


def is_a_file(folder: Path) -> dict[str, str]:
    (folder / "state").write_text("")
    return {"SLUICE_STATE_DIR": str(folder / "state")}


def cannot_be_made(folder: Path) -> dict[str, str]:
    return {"SLUICE_STATE_DIR": "/proc/missing/state"}


def module_missing(folder: Path) -> dict[str, str]:
    (folder / "sources" / "erp" / "mapping.py").unlink()
    return {}


def not_python(folder: Path) -> dict[str, str]:
    (folder / "sources" / "erp" / "mapping.py").write_text("x = 1\ndef (\n")
    return {}


def null_bytes(folder: Path) -> dict[str, str]:
    (folder / "sources" / "erp" / "mapping.py").write_bytes(b"x = 1\n\0")
    return {}


def ends_at_import(folder: Path) -> dict[str, str]:
    (folder / "sources" / "erp" / "mapping.py").write_text("raise SystemExit(3)\n")
    return {}


def fails_at_import(folder: Path) -> dict[str, str]:
    (folder / "sources" / "erp" / "mapping.py").write_text("x = 1\n\nTABLE = {}['staff']\n")
    return {}


def schemas_elsewhere(folder: Path) -> dict[str, str]:
    return {"SLUICE_SCHEMAS_DIR": str(folder)}


def as_it_is(folder: Path) -> dict[str, str]:
    return {}


def class_missing(folder: Path) -> dict[str, str]:
    (folder / "sources" / "crm" / "connector.py").write_text("")
    return {}


def no_secret(folder: Path) -> dict[str, str]:
    (folder / "sources" / "crm" / "connector.py").write_text("from sluice.connector import Connector as Crm\n")
    return {}


def one_database(folder: Path) -> dict[str, str]:
    """Two sinks whose dsns are written differently."""
    more = "  archive: {postgres: {env: ARCHIVE_DSN}}\n"
    (folder / "pipeline.yaml").write_text(PIPELINE + more)
    return {
        "SINK_DSN": "postgresql://one:x@db.example/gold",
        "ARCHIVE_DSN": "host=db.example port=5432 dbname=gold user=other",
        "SLUICE_SINK": "archive",
    }


CONNECTOR = """\
from sluice.connector import Connector, ConnectorSettings

class CrmSettings(ConnectorSettings):
    token: str

class Crm(Connector[CrmSettings]):
    def auth(self):
        return {}[self.settings.token]
"""


def connector_that_fails(folder: Path) -> dict[str, str]:
    (folder / "sources" / "crm" / "connector.py").write_text(CONNECTOR)
    return {"CRM_TOKEN": "hunter2"}


def connector_without_settings(folder: Path) -> dict[str, str]:
    (folder / "sources" / "crm" / "connector.py").write_text(CONNECTOR.replace("token: str", "token: int"))
    return {"CRM_TOKEN": "hunter2"}


@pytest.mark.parametrize(
    ("make_wrong", "command", "reason"),
    [
        (is_a_file, "run mapper", "SLUICE_STATE_DIR: nothing can be written to {folder}/state (File exists)"),
        (cannot_be_made, "run merger", "SLUICE_STATE_DIR: nothing can be written to /proc/missing/state"),
        (module_missing, "run mapper", "{folder}/pipeline.yaml:8: sources.erp: no module sources.erp.mapping"),
        (not_python, "mappings check", "{folder}/sources/erp/mapping.py:2: not Python: "),
        (
            null_bytes,
            "mappings check",
            "{folder}/sources/erp/mapping.py: not Python: source code string",
        ),
        (ends_at_import, "mappings check", "{folder}/sources/erp/mapping.py:1: importing sources.erp.mapping failed"),
        (fails_at_import, "mappings check", "{folder}/sources/erp/mapping.py:3: importing sources.erp.mapping failed"),
        (schemas_elsewhere, "topics check", "{folder}/topics: no topic declarations; set SLUICE_SCHEMAS_DIR"),
        (as_it_is, "run ingress-poller", "{folder}/pipeline.yaml:5: sources.crm.poll: no module sources.crm.connector"),
        (class_missing, "run ingress-poller", "{folder}/pipeline.yaml:5: sources.crm.poll: no class Crm"),
        (
            no_secret,
            "run ingress-poller",
            "{folder}/pipeline.yaml:6: sources.crm.settings: environment variable CRM_TOKEN is not set",
        ),
        (
            connector_that_fails,
            "run ingress-poller",
            "{folder}/sources/crm/connector.py:8: making sources.crm.settings failed with KeyError",
        ),
        (
            connector_without_settings,
            "run ingress-poller",
            "{folder}/pipeline.yaml:6: sources.crm.settings: sources.crm.settings.token: ",
        ),
        (
            one_database,
            "run sink-postgres",
            "{folder}/pipeline.yaml:15: sinks.archive: sink warehouse writes to schema golden of the same database",
        ),
        (as_it_is, "run mappper", "no stage mappper; there are "),
    ],
)
def test_what_the_real_command_answers(
    tmp_path: Path, make_wrong: Callable[[Path], dict[str, str]], command: str, reason: str
) -> None:
    given = {"SLUICE_PIPELINE": str(written(tmp_path)), "SLUICE_STATE_DIR": str(tmp_path / ".sluice")}
    code, said = answer(*command.split(), environment=given | make_wrong(tmp_path))
    assert code == 2, said
    (line,) = said.splitlines()
    assert line.startswith(f"sluice: {reason.format(folder=tmp_path)}")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not UTF-8"), (None, "No such file"), (..., "Is a directory")],
)
def test_an_empty_secret_file_is_named(tmp_path: Path, content: object, reason: str) -> None:
    file = tmp_path / "secret"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is ...:
        file.mkdir()
    with pytest.raises(SettingsError, match=f"secret file {file}: {reason}"):
        Secret(file=file).reveal()
