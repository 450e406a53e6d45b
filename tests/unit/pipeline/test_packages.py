"""A pipeline's folder is imported as a package of its own: relative imports, several pipelines in one process."""

import sys
from pathlib import Path

import pytest

from sluice.errors import SettingsError
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings, package_of
from support.small_pipeline import write_pipeline

ENTITIES = """
from typing import Annotated
from sluice.entities import Entity, Identity

class Person(Entity):
    number: Annotated[str, Identity()]
"""
MAPPING = """
from pydantic import BaseModel
from sluice.entities import mapping
from ...entities import Person

class Row(BaseModel):
    number: str

@mapping(source="hr.public.person", version=1)
def person(raw: Row) -> Person:
    return Person(number=raw.number)
"""


def written(folder: Path, mapping: str = MAPPING, entities: str = ENTITIES) -> Path:
    return write_pipeline(folder, entities, mapping)


def test_two_copies_of_a_pipeline_are_loaded_side_by_side(tmp_path: Path) -> None:
    path, known = list(sys.path), set(sys.modules)
    folders = [written(tmp_path / place / "same") for place in ("a", "b")]
    first, second = (load_mappings(load_pipeline(folder))[0] for folder in folders)
    assert first.function.__code__.co_filename == f"{folders[0]}/sources/hr/mapping.py"
    assert second.function.__code__.co_filename == f"{folders[1]}/sources/hr/mapping.py"
    assert [load_entities(load_pipeline(folder))["person"] for folder in folders] == [first.entity, second.entity]
    assert str(first.at) == str(second.at) == "sources/hr/mapping.py:9"
    assert sys.path == path
    assert known < set(sys.modules)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = written(tmp_path / "my pipeline.v2")
    assert package_of(folder).isidentifier()
    assert [mapping.name for mapping in load_mappings(load_pipeline(folder))] == ["person"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "from ...entities",
            "from entities",
            "/sources/hr/mapping.py:4: a pipeline's files import each other relatively. "
            "Next: write from ...entities import …",
        ),
        (
            "from ...entities",
            "from ...entitys",
            "/sources/hr/mapping.py:4: no module entitys. Next: install it, or correct its name",
        ),
        (
            "from ...entities",
            "import not_installed_here\nfrom ...entities",
            "/sources/hr/mapping.py:4: no module not_installed_here. Next: install it, or correct its name",
        ),
        (
            "import Person",
            "import Persn",
            "/sources/hr/mapping.py:4: importing sources.hr.mapping failed with ImportError: "
            "cannot import name 'Persn' from 'entities'",
        ),
        (
            "from ...entities import Person",
            "from ...entities import Person\nfrom ... import nothing",
            "/sources/hr/mapping.py:5: importing sources.hr.mapping failed with ImportError: "
            "cannot import name 'nothing' from 'mine'",
        ),
        ("version=1", "version=0", "/sources/hr/mapping.py:9: sources.hr.mapping.person: version=0"),
    ],
    ids=[
        "bare import",
        "misspelled file",
        "package that is not installed",
        "misspelled name",
        "missing file",
        "wrong version",
    ],
)
def test_a_wrong_import_is_reported_with_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = written(tmp_path / "mine", MAPPING.replace(old, new))
    with pytest.raises(SettingsError) as refused:
        load_mappings(load_pipeline(folder))
    assert str(refused.value).startswith(f"{folder}{message}")
    assert package_of(folder) not in str(refused.value)
