"""One name per stage, everywhere: folder, command, consumer group, compose service, chart value, metric label."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from sluice.names import INGRESS_CDC, INGRESS_POLLER, MAPPER, MERGER, SINK_POSTGRES, STAGES, Names
from support.pace import within
from support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAIN_LINES_MAX = 30


def package(stage: str) -> str:
    return f"sluice_{stage.replace('-', '_')}"


def main_of(stage: str) -> Path:
    return ROOT / "services" / package(stage) / "main.py"


def stage_folders() -> set[str]:
    return {folder.parent.name for folder in (ROOT / "services").glob("*/main.py")}


def test_every_stage_has_a_folder_and_every_folder_is_a_stage() -> None:
    assert stage_folders() == {package(stage) for stage in STAGES}


def test_the_command_starts_every_stage_by_its_name() -> None:
    declared = PROJECT["project"]["entry-points"]["sluice.stages"]
    assert declared == {stage: f"{package(stage)}.main:main" for stage in STAGES}
    assert set(entry_points(group="sluice.stages").names) == set(STAGES)


@pytest.mark.parametrize(
    ("stage", "others"),
    [
        (INGRESS_POLLER, {"psycopg", "jsonschema"}),
        (INGRESS_CDC, {"httpx2", "rocksdict", "jsonschema"}),
        (MAPPER, {"psycopg", "httpx2"}),
        (MERGER, {"psycopg", "jsonschema"}),
        (SINK_POSTGRES, {"jsonschema"}),
    ],
)
def test_a_stage_imports_nothing_that_only_other_stages_need(stage: str, others: set[str]) -> None:
    program = """
import gc, sys
from sluice.cli import main
from importlib.metadata import entry_points
(stage,) = entry_points(group="sluice.stages", name=sys.argv[1])
assert callable(main._imported(stage)) and gc.isenabled() and gc.get_freeze_count() > 0
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-c", program, stage], capture_output=True, text=True, timeout=within(60), check=True
    )
    assert set(done.stdout.split()) & {"rich", *others} == set()


def test_a_group_is_called_like_its_stage() -> None:
    assert [Names("eu.").group(stage) for stage in STAGES] == [f"eu.{stage}" for stage in STAGES]


def test_compose_and_chart_know_the_same_stages() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    values = yaml.safe_load((ROOT / "helm/sluice/values.yaml").read_text("utf-8"))
    assert {name for name, s in compose["services"].items() if (s.get("command") or [""])[0] == "run"} == set(STAGES)
    assert set(values["stages"]) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_main_wires_and_runs_in_at_most_thirty_lines(stage: str) -> None:
    module = ast.parse(main_of(stage).read_text("utf-8"))
    assert ast.get_docstring(module), f"{main_of(stage)} does not say what it is"
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == ["main"]
    body = functions[0].body
    assert (body[-1].end_lineno or 0) - body[0].lineno + 1 <= MAIN_LINES_MAX


@pytest.mark.parametrize("stage", STAGES)
def test_a_main_decides_nothing(stage: str) -> None:
    decisions = (ast.If, ast.For, ast.While, ast.Try, ast.Match, ast.IfExp, ast.Lambda)
    found = [
        node.lineno for node in ast.walk(ast.parse(main_of(stage).read_text("utf-8"))) if isinstance(node, decisions)
    ]
    assert found == []


def test_a_stages_name_is_spelled_in_one_place() -> None:
    sources = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py")]
    spelling = {
        str(file.relative_to(ROOT))
        for file in sources
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in STAGES
    }
    assert spelling == {"libs/sluice/names.py"}


def test_the_linter_knows_every_stage() -> None:
    packages = {package(stage) for stage in STAGES}
    linter = PROJECT["tool"]["importlinter"]
    assert packages <= set(linter["root_packages"])
    by_name = {contract["name"]: contract for contract in linter["contracts"]}
    assert set(by_name["Stages never import one another"]["modules"]) == packages
    assert set(by_name["The library never imports a stage"]["forbidden_modules"]) == packages
    authors = by_name["What an author writes with never imports Kafka or Postgres"]
    assert {"sluice.connector", "sluice.entities"} <= set(authors["source_modules"])
    assert {"confluent_kafka", "psycopg", "sluice.kafka", "sluice.cdc", "sluice.golden"} <= set(
        authors["forbidden_modules"]
    )
    assert by_name["The library stands in layers"]["exhaustive"] is True


def test_types_are_checked_for_every_stage() -> None:
    assert {"libs", "services", "tests", "bench", "examples"} <= set(PROJECT["tool"]["mypy"]["files"])
    assert PROJECT["tool"]["mypy"]["strict"] is True
