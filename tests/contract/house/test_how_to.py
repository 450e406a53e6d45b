"""What a how-to page has its reader write works: done to a copy of the example, it loads and maps its examples."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from support.how_to import Written, follow, written_by
from support.pace import within
from support.repository import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-a-source.md"
STEPS = list(written_by(PAGE))


def sluice(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which reads the files as they are by then."""
    command = [sys.executable, "-m", "sluice.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=within(60), check=False)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".sluice", "__pycache__")
    return Path(shutil.copytree(ROOT / "examples" / "workforce", tmp_path / "mine", ignore=ignored))


def test_the_page_adds_a_polled_source_and_a_table() -> None:
    files = [step.file for step in STEPS]
    assert {"sources/badges/connector.py", "sources/badges/mapping.py", "entities.py", "pipeline.yaml"} <= set(files)
    assert "sources/finance/mapping.py" in files


def test_who_follows_the_page_has_mappings_that_map_their_examples(mine: Path) -> None:
    for step in STEPS:
        follow(mine, step)
    checked = sluice("mappings", "check", "--pipeline", str(mine))
    assert checked.returncode == 0, checked.stderr
    assert "badge version 1: badges.badges → worker, 1 examples mapped" in checked.stdout
    assert "laptop version 1: finance.public.laptop → laptop, 1 examples mapped" in checked.stdout
    made = sluice("schemas", "generate", "--pipeline", str(mine))
    assert made.returncode == 0, made.stdout
    assert (mine / "schemas" / "canonical" / "laptop.avsc").exists()


def test_only_the_versions_that_the_page_raises_have_to_be_raised(mine: Path) -> None:
    def versions_and_code() -> dict[str, tuple[int, str]]:
        mappings = orjson.loads(sluice("mappings", "check", "--pipeline", str(mine), "--json").stdout)["mappings"]
        return {name: (one["version"], one["code"]) for name, one in mappings.items()}

    before = versions_and_code()
    for step in STEPS:
        follow(mine, step)
    after = versions_and_code()
    raised = {name for name, (version, _) in before.items() if after[name][0] > version}
    changed = {name for name, (_, code) in before.items() if after[name][1] != code}
    assert raised == changed == set()


def test_a_misspelt_field_is_mappings_with_its_file_and_line(mine: Path) -> None:
    for step in STEPS:
        follow(mine, Written(step.file, step.where, step.text.replace("badge=raw.colour", "bagde=raw.colour")))
    checked = sluice("mappings", "check", "--pipeline", str(mine))
    assert checked.returncode == 2
    assert "sources/badges/mapping.py:15: claims worker.bagde" in checked.stderr
