"""Contracts as files: each example's are what its entities generate, and the reference pipeline's stand in schemas/."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.schemas.subjects import file_findings, read_file, subjects
from support.repository import ROOT

PIPELINES = sorted(path.parent for path in (ROOT / "examples").glob("*/pipeline.yaml"))
REFERENCE = "workforce"


@pytest.mark.parametrize("folder", PIPELINES, ids=lambda folder: folder.name)
def test_the_files_of_an_example_are_what_its_entities_generate(folder: Path) -> None:
    pipeline = load_pipeline(folder)
    wanted = subjects(pipeline, load_entities(pipeline))
    assert [finding for one in wanted for finding in file_findings(one)] == []
    assert {file.name for file in (folder / "schemas/canonical").iterdir()} == {one.file.name for one in wanted}


def test_the_reference_pipelines_contracts_stand_in_schemas() -> None:
    ours = {path.name: read_file(path) for path in (ROOT / "schemas/canonical").iterdir()}
    theirs = {path.name: read_file(path) for path in (ROOT / "examples" / REFERENCE / "schemas/canonical").iterdir()}
    assert ours == theirs, "copy examples/workforce/schemas/canonical/*.avsc to schemas/canonical/"
