"""Mistakes of a mapping that need no record to be found are reported at load, with file and line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sluice import json_text
from sluice.entities import Mapping
from sluice.errors import SettingsError
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings
from sluice.pipeline.examples import require_examples_mapped
from support.small_pipeline import write_pipeline

ENTITIES = """
from decimal import Decimal
from typing import Annotated, Literal
from sluice.entities import UNCLAIMED, Entity, Identity, Scale

class Person(Entity):
    number: Annotated[str, Identity()]
    full_name: str | None = UNCLAIMED
    height: Annotated[Decimal, Scale(4, 2)] | None = UNCLAIMED
    status: Literal["active", "left"] | None = UNCLAIMED
"""
MAPPING = """
from typing import Any
from ... import entities
from ...entities import Person, Person as Golden
from pydantic import BaseModel
from sluice.entities import mapping

class Row(BaseModel):
    number: str

class Raw:
    class Person(BaseModel):
        number: str | None = None
        salary: int

@mapping(source="hr.public.person", version=1)
def person(raw: Row) -> Person:
    return {claim}

def named(raw: Row, **more: Any) -> Person:
    return {helped}
"""
Load = Callable[..., list[Mapping]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads the mappings of a pipeline whose mapping returns `claim`, and whose helper `named` returns `helped`."""

    def loaded(claim: str, helped: str = "Person(number=raw.number)") -> list[Mapping]:
        mapping = MAPPING.format(claim=claim, helped=helped)
        return load_mappings(load_pipeline(write_pipeline(tmp_path, ENTITIES, mapping)))

    return loaded


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("Person(number=raw.number, full_nam='A')", r"person\.full_nam, a field .*is full_name meant\?"),
        ("Person(number=raw.number, salary=1)", r"person\.salary.*it has number, full_name, height, status"),
        ("Golden(number=raw.number, salary=1)", r"person\.salary"),
        ("entities.Person(number=raw.number, salary=1)", r"person\.salary"),
        (
            "Person(full_name='A')",
            r"creates a person without number\. Next: give number, which is the entity's identity$",
        ),
        ("Golden.claim(number=raw.number)", r"Person\.claim is removed\. Next: give the claims to Person\(…\)$"),
    ],
)
def test_a_claim_that_is_wrong_for_every_record_is_refused_with_its_place(load: Load, claim: str, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"^sources/hr/mapping\.py:18: .*{message}"):
        load(claim)


REQUIRED_NAME = ENTITIES.replace("full_name: str | None = UNCLAIMED", "full_name: str")


@pytest.mark.parametrize(
    ("claim", "step"),
    [
        ("Person(number=raw.number)", "give full_name, or make UNCLAIMED the default"),
        ("Person()", "give number, which is the entity's identity; give full_name, or make UNCLAIMED the default"),
    ],
)
def test_unclaimed_is_advised_only_for_fields_that_may_have_it(tmp_path: Path, claim: str, step: str) -> None:
    mapping = MAPPING.format(claim=claim, helped="Person(number=raw.number, full_name='A')")
    with pytest.raises(SettingsError) as refused:
        load_mappings(load_pipeline(write_pipeline(tmp_path, REQUIRED_NAME, mapping)))
    assert str(refused.value).endswith(f". Next: {step}")


def test_a_class_that_accepts_misspelt_fields_is_refused_with_its_line(tmp_path: Path) -> None:
    entities = ENTITIES.replace("    number:", '    model_config = {"extra": "ignore"}\n    number:')
    with pytest.raises(SettingsError, match=r"/entities\.py:6: entities\.Person: extra=.*Next: remove extra"):
        load_mappings(load_pipeline(write_pipeline(tmp_path, entities, MAPPING.format(claim="None", helped="None"))))


def test_a_method_claim_of_the_authors_own_is_accepted(tmp_path: Path) -> None:
    own = f"""{ENTITIES}
    @classmethod
    def claim(cls, number: str) -> "Person":
        return cls(number=number)
"""
    mapping = MAPPING.format(claim="Person.claim(number=raw.number)", helped="None")
    (loaded,) = load_mappings(load_pipeline(write_pipeline(tmp_path, own, mapping)))
    assert loaded.name == "person"


def test_a_helper_that_the_mapping_calls_is_checked_too(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"sources/hr/mapping\.py:21: claims person\.salary"):
        load("named(raw)", "Person(number=raw.number, salary=1)")


@pytest.mark.parametrize(
    "claim",
    [
        "Person(number=raw.number, height='1.80', full_name=None, status='left')",
        "Person(number=raw.number, **{'full_name': 'A'})",
        "Person(**{'number': raw.number, 'full_name': None, 'height': None, 'status': None})",
        "Person(number=Raw.Person(salary=1).number or raw.number)",
    ],
)
def test_a_claim_that_may_be_right_is_accepted_until_a_record_breaks_it(load: Load, claim: str) -> None:
    assert [mapping.name for mapping in load(claim)] == ["person"]


def test_all_mistakes_of_a_mapping_are_reported_at_once(load: Load) -> None:
    with pytest.raises(SettingsError) as refused:
        load("Person(number=raw.number, salary=1, nickname='A')")
    assert re.findall(r"person\.(\w+),", str(refused.value)) == ["salary", "nickname"]


def examples(tmp_path: Path, **texts: str) -> None:
    folder = tmp_path / "sources/hr/examples/public.person"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text)


def tried(tmp_path: Path, mappings: list[Mapping]) -> None:
    require_examples_mapped(load_pipeline(tmp_path), mappings, json_text.decode)


BEHIND_STARS = "Person(**{'number': raw.number, 'salary': raw.number})"


def test_a_mapping_that_cannot_map_its_example_is_refused(load: Load, tmp_path: Path) -> None:
    mappings = load(BEHIND_STARS)
    examples(tmp_path, one='{"number": "Secretson"}')
    with pytest.raises(
        SettingsError, match=r"^sources/hr/examples/public\.person/one\.json: mapping person"
    ) as refused:
        tried(tmp_path, mappings)
    assert "sources/hr/mapping.py:18: person: salary: no such field" in str(refused.value)
    assert "Secretson" not in str(refused.value)


def test_an_example_that_is_not_a_record_is_refused(load: Load, tmp_path: Path) -> None:
    mappings = load("Person(number=raw.number)")
    examples(tmp_path, cut='{"number": ', list="[1]")
    with pytest.raises(SettingsError, match=r"cut\.json: .*list\.json: not a JSON object"):
        tried(tmp_path, mappings)


def test_mapped_and_filtered_examples_and_a_stream_without_examples_are_accepted(load: Load, tmp_path: Path) -> None:
    mappings = load("Person(number=raw.number) if raw.number else None")
    tried(tmp_path, mappings)
    examples(tmp_path, one='{"number": "1"}', filtered='{"number": ""}')
    tried(tmp_path, mappings)
