"""A mapping or entity that a later definition replaces is refused at load: Python keeps the last without notice."""

import importlib
import sys
from pathlib import Path

import pytest

from sluice.errors import SettingsError
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from support.small_pipeline import write_pipeline

ENTITIES = """
from typing import Annotated
from sluice.entities import Entity, Identity

class Person(Entity):
    number: Annotated[str, Identity()]
"""
HEAD = """
from pydantic import BaseModel
from sluice.entities import mapping
from ...entities import Person

class Row(BaseModel):
    number: str

def declare(name):
    @mapping(source="hr.public.person", version=1, name=name)
    def made(raw: Row) -> Person:
        return Person(number=raw.number)
    return made

def plain(function):
    return lambda raw: function(raw)

"""


def defined(name: str, indent: str = "", above: str = "") -> str:
    lines = [
        *([above] if above else []),
        f'@mapping(source="hr.public.person", version=1, name="{name}")',
        "def person(raw: Row) -> Person:",
        "    return Person(number=raw.number)",
    ]
    return "".join(f"{indent}{line}\n" for line in lines)


def names(folder: Path, code: str) -> list[str]:
    return [one.name for one in load_mappings(load_pipeline(write_pipeline(folder, ENTITIES, HEAD + code)))]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (defined("a") + defined("b"), "sources/hr/mapping.py:21 defines person again"),
        (defined("a") + defined("a"), "sources/hr/mapping.py:21 defines person again"),
        (defined("a") + "def person(): pass\n", "person is later redefined"),
        (defined("a", above="@plain"), "person is later redefined"),
    ],
    ids=["another mapping", "the same mapping", "a function", "another decorator"],
)
def test_a_mapping_that_loses_its_name_is_refused(tmp_path: Path, code: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        names(tmp_path, code)
    assert str(refused.value).startswith("sources/hr/mapping.py:18: mapping a does not exist, because ")
    assert f"because {why}" in str(refused.value)
    assert ". Next: give each function a name of its own" in str(refused.value)


def test_a_mapping_that_loses_its_name_in_an_imported_file_is_refused(tmp_path: Path) -> None:
    folder = write_pipeline(tmp_path, ENTITIES, "from .more import person\n")
    (folder / "sources/hr/more.py").write_text(HEAD + defined("a") + defined("b"))
    with pytest.raises(SettingsError, match=r"^sources/hr/more\.py:18: mapping a does not exist"):
        load_mappings(load_pipeline(folder))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("if True:\n" + defined("a", "    ") + "else:\n" + defined("b", "    "), ["a"]),
        (
            f"try:\n    import not_installed_here\n{defined('a', '    ')}except ImportError:\n{defined('b', '    ')}",
            ["b"],
        ),
        (defined("a") + "first = person\n" + defined("b"), ["a", "b"]),
        (defined("a") + "del person\n", []),
        ("first, second = declare('a'), declare('b')\n", ["a", "b"]),
        (
            "def person(raw: Row) -> Person: ...\n"
            "first = mapping('hr.public.person', 1, name='a')(person)\n"
            "second = mapping('hr.public.person', 1, name='b')(person)\n",
            ["a", "b"],
        ),
        (defined("a") + "from dataclasses import replace\nperson = replace(person, output='other')\n", ["a"]),
    ],
    ids=["if", "try", "two names", "deleted", "factory", "one function", "replaced with changes"],
)
def test_a_definition_that_keeps_every_mapping_is_accepted(tmp_path: Path, code: str, found: list[str]) -> None:
    assert sorted(names(tmp_path, code)) == found


def test_a_repeated_import_is_accepted(tmp_path: Path) -> None:
    assert names(tmp_path, defined("a")) == ["a"]
    pipeline = load_pipeline(tmp_path)
    (mapping,) = load_mappings(pipeline)
    file = tmp_path / "sources/hr/mapping.py"
    file.write_text(HEAD + "\n" + defined("b"))
    importlib.reload(sys.modules[mapping.function.__module__])
    assert [one.name for one in load_mappings(pipeline)] == ["b"]


def test_an_import_that_failed_and_is_repeated_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not_installed_here"):
        names(tmp_path, defined("a") + "import not_installed_here\n")
    (tmp_path / "sources/hr/mapping.py").write_text(HEAD + defined("a"))
    assert [one.name for one in load_mappings(load_pipeline(tmp_path))] == ["a"]


BOOK = """
class {name}(Entity{more}):
    id: Annotated[str, Identity()]
"""
ENTITY_HEAD = "from typing import Annotated\nfrom sluice.entities import Entity, Identity\n"


def entities(folder: Path, code: str) -> list[str]:
    return list(load_entities(load_pipeline(write_pipeline(folder, ENTITY_HEAD + code, ""))))


def test_an_entity_that_loses_its_name_is_refused(tmp_path: Path) -> None:
    code = BOOK.format(name="Book", more="") + BOOK.format(name="Book", more=', name="paper"')
    with pytest.raises(SettingsError, match=r"/entities\.py:4: this class Book does not exist.*Next: give each class"):
        entities(tmp_path, code)


def test_two_entities_of_one_name_are_refused(tmp_path: Path) -> None:
    code = BOOK.format(name="Book", more="") + BOOK.format(name="Paper", more=', name="book"')
    with pytest.raises(SettingsError, match=r"/entities\.py: Book and Paper are both called book\. Next: give one"):
        entities(tmp_path, code)


def test_an_entity_under_two_names_or_with_a_base_class_is_accepted(tmp_path: Path) -> None:
    code = BOOK.format(name="Book", more="") + "Paper = Book\nclass Magazine(Book):\n    issue: int\n"
    assert entities(tmp_path, code) == ["book", "magazine"]
