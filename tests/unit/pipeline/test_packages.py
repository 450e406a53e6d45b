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
            "Next: write from ...entities import Person",
        ),
        (
            "from ...entities",
            "from ...entitys",
            "/sources/hr/mapping.py:4: no module entitys. "
            "Next: correct its name, or write the file; is entities meant?",
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
            "cannot import name 'nothing' from 'mine' (unknown location)",
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


RELATIVE = "a pipeline's files import each other relatively. Next: write "
HELPER = "p = q = 1\n"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("import helper", f"{RELATIVE}from . import helper"),
        ("import sys, helper as h", f"{RELATIVE}from . import helper as h"),
        ("import sources.hr.helper", f"{RELATIVE}from . import helper"),
        ("from helper import p, q as r", f"{RELATIVE}from .helper import p, q as r"),
        ("from sources.hr.helper import p", f"{RELATIVE}from .helper import p"),
        ("from hr.helper import p", f"{RELATIVE}from .helper import p"),
        ("from sources.shared.dates import p", f"{RELATIVE}from ..shared.dates import p"),
        ("from shared.dates import p", f"{RELATIVE}from ..shared.dates import p"),
        ("from sources.shared import dates", f"{RELATIVE}from ..shared import dates"),
        ("import entities", f"{RELATIVE}from ... import entities"),
        ("from entities import *", f"{RELATIVE}from ...entities import *"),
        (
            "from entities import (\n    Person,\n    Person as Golden,\n)",
            f"{RELATIVE}from ...entities import Person, P",
        ),
        ("def late():\n    import helper\nlate()", f"{RELATIVE}from . import helper"),
        ("from ..entities import Person", "no module sources.entities. Next: write from ...entities import Person"),
        ("from .entities import Person", "no module sources.hr.entities. Next: write from ...entities import Person"),
        ("from ..helper import p", "no module sources.helper. Next: write from .helper import p"),
        ("from ....entities import Person", ". Next: write from ...entities import Person"),
        ("from .. import entities", "(unknown location). Next: write from ... import entities"),
        ("from calendar import p", ". Next: write from .calendar import p"),
        (
            "from .helpr import p",
            "no module sources.hr.helpr. Next: correct its name, or write the file; is helper meant?",
        ),
        ("import helpr", "no module helpr. Next: install it, or correct its name; is helper meant?"),
        (
            "from .helper.more import p",
            "no module sources.hr.helper.more. Next: correct its name, or write the file",
        ),
        ("import importlib; importlib.import_module('helper')", "no module helper. Next: install it, or correct its "),
    ],
)
def test_the_import_to_write_is_named_in_full(tmp_path: Path, statement: str, message: str) -> None:
    folder = written(tmp_path / "mine", f"{statement}\n{MAPPING}")
    (folder / "sources/shared").mkdir()
    (folder / "sources/shared/dates.py").write_text(HELPER)
    (folder / "sources/hr/helper.py").write_text(HELPER)
    (folder / "sources/hr/calendar.py").write_text(HELPER)
    with pytest.raises(SettingsError) as refused:
        load_mappings(load_pipeline(folder))
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{folder}/sources/hr/mapping.py:")
    assert package_of(folder) not in str(refused.value)


def test_the_advised_imports_work(tmp_path: Path) -> None:
    advised = "from . import helper as h\nfrom ..shared import dates\nfrom ... import entities\nfrom .helper import p\n"
    folder = written(tmp_path / "mine", advised + MAPPING)
    (folder / "sources/shared").mkdir()
    (folder / "sources/shared/dates.py").write_text(HELPER)
    (folder / "sources/hr/helper.py").write_text(HELPER)
    assert [mapping.name for mapping in load_mappings(load_pipeline(folder))] == ["person"]


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        ("from sluice.connector import Record", ". Next: write SourceRecord"),
        ("from sluice.connector.record import Record", ". Next: write SourceRecord"),
        ("from sluice.connector.paging import Concluded", ". Next: write ImplicitEnd"),
        ("from sluice.entities import FieldType", "Next: remove it; the types are in contract().fields of the entity"),
        ("from sluice.entities import MostRecent", ". Next: write most_recent()"),
        ("from sluice.entities import Rule", ". Next: write prefer(…) or most_recent() instead of a rule's class"),
        ("from sluice.entities import SourceOrder", "remove it; this is the rule of every field without a rule"),
        ("from sluice.entities import Entiti", "; is Entity meant?"),
        ("from ...entities import Person; Person.claim", ". Next: give the claims to the constructor, Person(…)"),
    ],
)
def test_a_removed_name_is_reported_with_the_name_that_replaced_it(tmp_path: Path, statement: str, step: str) -> None:
    folder = written(tmp_path / "mine", f"{statement}\n{MAPPING}")
    with pytest.raises(SettingsError) as refused:
        load_mappings(load_pipeline(folder))
    assert str(refused.value).startswith(f"{folder}/sources/hr/mapping.py:1: importing sources.hr.mapping failed with ")
    assert str(refused.value).endswith(step)


FIELD = MAPPING.replace("version=1", "version=1, effective_at=Row.{name}").replace(
    "    number: str",
    "    number: str\n    seen_at: int | None = None\n    chosen: int\n\n    def seen(self) -> int: ...",
)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        (
            "seen_at",
            ". seen_at is a field: records of Row have it, and the class does not. Next: add the method "
            "`def changed_at(self) -> int | None: return self.seen_at` to the class, and write Row.changed_at",
        ),
        ("chosen", "`def changed_at(self) -> int: return self.chosen` to the class, and write Row.changed_at"),
        ("sen", "failed with AttributeError: sen; is seen meant?"),
    ],
)
def test_a_field_as_effective_at_is_refused_with_the_method_to_write(tmp_path: Path, name: str, step: str) -> None:
    folder = written(tmp_path / "mine", FIELD.format(name=name))
    with pytest.raises(SettingsError) as refused:
        load_mappings(load_pipeline(folder))
    assert str(refused.value).startswith(f"{folder}/sources/hr/mapping.py:13: importing sources.hr.mapping failed with")
    assert str(refused.value).endswith(step)
