"""`sluice mappings check`: an author's mistakes without a server, with the code of settings."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from support.people import PIPELINE
from support.repository import ROOT

FOLDER = ROOT / "examples" / "workforce"


def test_it_tells_versions_examples_and_what_counts_as_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_PIPELINE", raising=False)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(FOLDER), "--json"])
    assert done.exit_code == 0, done.output
    worker = orjson.loads(done.stdout)["mappings"]["worker"]
    assert worker["examples"] == len(list(Path(FOLDER).glob("sources/hr/examples/workers/*.json")))
    assert "sources.hr.mapping (COUNTRIES, DIAL_CODES, HrWorker" in worker["counts"]
    assert len(worker["code"]) == 64


def test_a_stream_that_no_mapping_reads_is_told_and_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(prefix="test.", dsn_file=tmp_path / "dsn"))
    (tmp_path / "entities.py").write_text("from support.people import Person as Person\n")
    for source, text in (("crm", "from support.people import crm_person as crm_person\n"), ("erp", "")):
        (tmp_path / "sources" / source).mkdir(parents=True)
        (tmp_path / "sources" / source / "mapping.py").write_text(text)
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "no mapping reads erp.public.staff: what is published there reaches no entity" in done.stdout
    as_json = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path), "--json"])
    assert orjson.loads(as_json.stdout)["unmapped"] == ["erp.public.staff"]


def test_a_pipeline_that_is_not_there_is_a_matter_of_settings(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["mappings", "check", "--pipeline", str(tmp_path)])
    assert done.exit_code == 2
    assert "pipeline.yaml" in done.stderr
