"""What a person writes wrong is answered by one line that says where, in a person's words, with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli.main import app

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


def in_the_file(right: str, wrong: str, told: str, name: str) -> object:
    return pytest.param(PIPELINE.replace(right, wrong), told, id=name)


DEEP = "pipeline: " + "[" * 5_000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [*{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}, *{b}]\n"
    for b, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        in_the_file(
            "sinks:\n", "sinks: {}\nsinks:\n", ":14: sinks stands twice; it stands in line 13, too", "key twice"
        ),
        in_the_file(
            "    dsn:", "    cdc: postgres\n    dsn:", ":10: sources.erp.cdc stands twice", "key twice, within"
        ),
        in_the_file(
            "- public.staff",
            "- public.staff\n      - public.staff",
            ":13: sources.erp.tables.1: public.staff stands twice",
            "table twice",
        ),
        in_the_file("      - public.staff\n", "      []\n", "sources.erp.tables: ", "no tables"),
        pytest.param("pipeline: people\nsources: {}\n", ":2: sources: ", id="no sources"),
        pytest.param("pipeline: people\n", ":1: sources: ", id="sources left out"),
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
        in_the_file("pipeline: people", "pipeline: people\npartitions: true", ":2: partitions: ", "partitions: yes"),
        in_the_file("pipeline: people", "pipeline: people\npartitions: -3", ":2: partitions: ", "negative partitions"),
        in_the_file("pipeline: people", "pipeline: 7", ":1: pipeline: ", "a number for a name"),
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
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    file = written(tmp_path, text)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(file)])
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sluice: {file}")
    assert told in line
