"""What counts as a mapping's code: its own text and what it refers to, and nothing that merely stands beside it."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sluice.entities import Mapping
from sluice.entities.module_place import Kind, data_beside, kind_of
from sluice.errors import SettingsError
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings

PIPELINE = """
pipeline: small
sources: {hr: {cdc: postgres, dsn: {env: HR_DSN}, tables: [public.person, public.place]}}
"""
ENTITIES = '''"""Golden records."""
from typing import Annotated
from sluice.entities import Entity, Identity

def spelled(text: str) -> str:
    return text.upper()

class Person(Entity):
    """Somebody."""
    number: Annotated[str, Identity(spelled)]
    name: str | None
    height: str | None

class Place(Entity):
    code: Annotated[str, Identity()]
'''
UNITS = '''"""Units."""
FACTORS = {"cm": 100, "m": 1}

def metres(text: str) -> str:
    """Metres."""
    number, unit = text.split()
    return str(rounded(float(number) / FACTORS[unit]))

def rounded(number: float) -> float:
    return round(number, 2)

def miles(number: float) -> float:
    return number / 1.609
'''
MAPPING = '''"""HR."""
import units
from entities import Person, Place
from pydantic import BaseModel
from sluice.entities import mapping

TITLES = ("Dr.", "Prof.")

class Part(BaseModel):
    first: str

class Row(BaseModel):
    number: str
    part: "Part"
    height: str

    @property
    def text(self) -> str:
        return self.height.strip()

class PlaceRow(BaseModel):
    code: str

@mapping(source="hr.public.person", version=1)
def person(raw: Row) -> Person:
    """One person."""
    # as HR writes it
    return Person.claim(number=raw.number, name=untitled(raw.part.first), height=units.metres(raw.text))

def untitled(name: str) -> str:
    for title in TITLES:
        name = name.removeprefix(title)
    return name.strip()

@mapping(source="hr.public.place", version=1)
def place(raw: PlaceRow) -> Place:
    return Place(code=raw.code)
'''
FILES = {
    "pipeline.yaml": PIPELINE,
    "entities.py": ENTITIES,
    "units.py": UNITS,
    "sources/hr/mapping.py": MAPPING,
}
PATCHES = "import units\n\nunits.rounded = lambda number: round(number, 1)\n"
HASHES = Callable[..., dict[str, Mapping]]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[HASHES]:
    """Writes the pipeline, edited by (file, old, new), into a folder of its own, and loads its mappings by name."""
    runs = iter(range(100))
    path, modules = list(sys.path), dict(sys.modules)

    def loaded(*edits: tuple[str, str, str], **more: str) -> dict[str, Mapping]:
        folder = tmp_path / str(next(runs))
        texts = FILES | {name.replace("__", "/") + ".py": text for name, text in more.items()}
        for file, old, new in edits:
            assert old in texts[file], f"{file} does not hold {old}"
            texts[file] = texts[file].replace(old, new)
        for file, text in texts.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        for name in [name for name in sys.modules if name not in modules]:
            del sys.modules[name]
        return {mapping.name: mapping for mapping in load_mappings(load_pipeline(folder))}

    yield loaded
    sys.path[:] = path
    for name in [name for name in sys.modules if name not in modules]:
        del sys.modules[name]


HR = "sources/hr/mapping.py"
SAME = {
    "a comment": (HR, "# as HR writes it", "# as it is"),
    "a docstring": (HR, '"""One person."""', '"""A person, as HR has it."""'),
    "layout": (HR, 'TITLES = ("Dr.", "Prof.")', 'TITLES = (\n    "Dr.",\n    "Prof.",\n)'),
    "another mapping of the file": (HR, "Place(code=raw.code)", "Place(code=raw.code.lower())"),
    "another mapping's model": (HR, "code: str", "code: str | None"),
    "another entity": ("entities.py", "code: Annotated", "label: str | None = None\n    code: Annotated"),
    "a field of its entity that others claim": ("entities.py", "    height:", "    nickname: str | None\n    height:"),
    "a helper that nobody here calls": ("units.py", "1.609", "1.6093"),
    "a new helper": ("units.py", "def miles", "def feet(number: float) -> float:\n    return number\n\ndef miles"),
    "an import for somebody else": (HR, "import units\n", "import re\nimport units\nfrom units import miles\n"),
}
OTHER = {
    "its own text": (HR, "name=untitled(raw.part.first)", "name=raw.part.first"),
    "what it declares": (HR, 'person", version=1)', 'person", version=1, output="other")'),
    "a helper": (HR, "name.strip()", "name"),
    "a constant of a helper": (HR, '"Prof."', '"Prof. "'),
    "a helper in another module": ("units.py", "float(number) /", "float(number) *"),
    "a helper of that helper": ("units.py", "round(number, 2)", "round(number, 3)"),
    "a table of that helper": ("units.py", '"m": 1', '"m": 1, "mm": 1000'),
    "the raw model": (HR, "height: str\n", "height: str | int\n"),
    "a property of the raw model": (HR, "self.height.strip()", "self.height"),
    "a model in quotes inside the raw model": (HR, "first: str", "first: str | None"),
    "the entity": ("entities.py", "name: str | None", "name: str"),
    "how the entity spells its identity": ("entities.py", "text.upper()", "text.lower()"),
    "a table filled later": (HR, "class Part(", 'units.FACTORS["mm"] = 1000\n\nclass Part('),
    "an import that acts": (HR, "import units\n", "import units\nimport patches\n"),
}


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_what_a_mapping_does_not_use_is_not_its_code(load: HASHES, edit: tuple[str, str, str]) -> None:
    assert load(patches=PATCHES)["person"].code_hash == load(edit, patches=PATCHES)["person"].code_hash


@pytest.mark.parametrize("edit", OTHER.values(), ids=OTHER)
def test_what_a_mapping_uses_is_its_code(load: HASHES, edit: tuple[str, str, str]) -> None:
    before, after = load(patches=PATCHES), load(edit, patches=PATCHES)
    assert before["person"].code_hash != after["person"].code_hash


def test_definitions_may_change_their_order(load: HASHES) -> None:
    titles = 'TITLES = ("Dr.", "Prof.")\n'
    moved = load((HR, titles, ""), (HR, "class PlaceRow", f"{titles}\nclass PlaceRow"))
    assert load()["person"].code_hash == moved["person"].code_hash


def test_a_claim_through_another_modules_name_of_the_entity_is_seen(load: HASHES) -> None:
    more = {"golden": "from entities import Person as Human\n", "model": "from golden import Human\n"}
    claim = "Human.claim(number=raw.number, **{raw.height: raw.height})"
    edits = (HR, "Person.claim(number=raw.number, name", "named(raw) or Person.claim(number=raw.number, name")
    helper = (HR, "def untitled(", f"def named(raw):\n    from model import Human\n    return {claim}\n\ndef untitled(")
    added = ("entities.py", "    height:", "    nickname: str | None\n    height:")
    before, after = load(edits, helper, **more)["person"], load(edits, helper, added, **more)["person"]
    assert before.code_hash != after.code_hash


MAYBE_MORE = {
    "fields behind stars": "Person.claim(number=raw.number, **dict(zip([raw.height], [raw.height])))",
    "the entity handed on": "made(Person, raw)",
    "a changed copy of it": "Person.claim(number=raw.number).model_copy(update={raw.height: 'x'})",
    "a changed copy, the older way": "Person.claim(number=raw.number).copy(update={raw.height: 'x'})",
    "another way to make it": "Person.model_validate({'number': raw.number, raw.height: 'x'})",
}


@pytest.mark.parametrize("claim", MAYBE_MORE.values(), ids=MAYBE_MORE)
def test_where_a_mapping_may_claim_any_field_the_whole_entity_counts(load: HASHES, claim: str) -> None:
    old = "Person.claim(number=raw.number, name=untitled(raw.part.first), height=units.metres(raw.text))"
    edit = (HR, old, claim)
    helper = (HR, "def untitled(", "def made(kind, raw):\n    return kind(**raw.__class__.values)\n\ndef untitled(")
    added = ("entities.py", "    height:", "    nickname: str | None\n    height:")
    assert load(edit, helper)["person"].code_hash != load(edit, helper, added)["person"].code_hash


EITHER = "try:\n    from fast import metres\nexcept ImportError:\n    from slow import metres\n"
WAYS = {"fast": "def metres(text):\n    return text\n", "slow": "def metres(text):\n    return text.strip()\n"}


@pytest.mark.parametrize("changed", WAYS)
def test_each_import_that_a_name_may_stand_for_counts(load: HASHES, changed: str) -> None:
    use = (HR, "import units\n", EITHER), (HR, "units.metres", "metres")
    after = WAYS | {changed: WAYS[changed].replace("return", "return 2 *")}
    assert load(*use, **WAYS)["person"].code_hash != load(*use, **after)["person"].code_hash


def test_an_entity_that_may_be_imported_from_two_places_is_seen_in_either(load: HASHES) -> None:
    either = "try:\n    from entities import Person, Place\nexcept ImportError:\n    from spare import Person, Place\n"
    more = {"spare": "class Person:\n    pass\n\nclass Place:\n    pass\n"}
    use = (HR, "from entities import Person, Place\n", either)
    added = ("entities.py", "    height:", "    nickname: str | None\n    height:")
    misspelled = (HR, "name=untitled", "nane=untitled")
    assert load(use, **more)["person"].code_hash == load(use, added, **more)["person"].code_hash
    with pytest.raises(SettingsError, match="nane"):
        load(use, misspelled, **more)


WHEN_RUN = {
    "else of TYPE_CHECKING": "import typing\nif typing.TYPE_CHECKING:\n    LIMIT = 9\nelse:\n    LIMIT = 1\n",
    "not TYPE_CHECKING": "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    LIMIT = 1\n",
    "more than TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING or True:\n    LIMIT = 1\n",
    "not as a program": "if __name__ != '__main__':\n    LIMIT = 1\n",
    "else of a program": "if __name__ == '__main__':\n    LIMIT = 9\nelse:\n    LIMIT = 1\n",
}
WHEN_CHECKED = {
    "TYPE_CHECKING": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    LIMIT = 1\n",
    "typing.TYPE_CHECKING": "import typing\nif typing.TYPE_CHECKING:\n    LIMIT = 1\n",
    "a program": "if __name__ == '__main__':\n    LIMIT = 1\n",
}


def _with_limit(load: HASHES, condition: str, limit: int) -> str:
    text = condition.replace("LIMIT = 1", f"LIMIT = {limit}")
    use = (HR, "name.strip()", "name.strip()[LIMIT:]"), (HR, "import units\n", f"{text}import units\n")
    return load(*use)["person"].code_hash


@pytest.mark.parametrize("condition", WHEN_RUN.values(), ids=WHEN_RUN)
def test_what_a_condition_lets_run_is_code(load: HASHES, condition: str) -> None:
    assert _with_limit(load, condition, 1) != _with_limit(load, condition, 2)


@pytest.mark.parametrize("condition", WHEN_CHECKED.values(), ids=WHEN_CHECKED)
def test_what_runs_for_type_checkers_or_as_a_program_only_is_no_code(load: HASHES, condition: str) -> None:
    assert _with_limit(load, condition, 1) == _with_limit(load, condition, 2)


LOOKED_UP = (HR, "units.metres(raw.text)", "getattr(units, 'met' + 'res')(raw.text)")
REGISTER = """
WAYS = {}

def way(function):
    WAYS[function.__name__] = function
    return function

@way
def loud(text):
    return text.upper()

"""
REGISTERED = (HR, "def untitled(", f"{REGISTER}def untitled(")


def test_where_names_are_made_at_run_time_every_module_within_reach_counts(load: HASHES) -> None:
    before = load(LOOKED_UP)["person"].code
    assert ("units", "miles") in before.parts
    assert before.sha256() != load(LOOKED_UP, ("units.py", "1.609", "1.6093"))["person"].code_hash


def test_what_registers_itself_on_import_counts_for_every_mapping_that_reaches_it(load: HASHES) -> None:
    before = load(REGISTERED)["person"].code_hash
    assert before != load(REGISTERED, (HR, "t.upper()", "t.lower()"))["person"].code_hash


def test_data_that_a_module_reads_is_code(load: HASHES, tmp_path: Path) -> None:
    reads = (
        HR,
        'TITLES = ("Dr.", "Prof.")',
        'TITLES = open(__file__.replace("mapping.py", "titles.txt")).read().split()',
    )
    (tmp_path / "0/sources/hr").mkdir(parents=True)
    (tmp_path / "1/sources/hr").mkdir(parents=True)
    (tmp_path / "0/sources/hr/titles.txt").write_text("Dr.")
    (tmp_path / "1/sources/hr/titles.txt").write_text("Dr. Prof.")
    first, second = load(reads)["person"], load(reads)["person"]
    assert first.code_hash != second.code_hash


READS = 'TITLES = open(__file__.replace("mapping.py", "titles.txt")).read().split()'


@pytest.mark.parametrize("text", ["ä" * 150, "sources/" + "ü" * 130, "\\ud800"])
def test_a_text_that_can_name_no_file_is_not_looked_up_as_one(load: HASHES, text: str) -> None:
    named = (HR, 'TITLES = ("Dr.", "Prof.")', f'{READS} if False else ("{text}",)')
    assert load(named)["person"].code_hash != load()["person"].code_hash


def test_the_data_beside_a_module_is_hashed_without_being_held_whole(tmp_path: Path) -> None:
    size = 32 * 2**20
    (tmp_path / "beside.py").write_text("")
    with (tmp_path / "large.bin").open("wb") as large:
        large.truncate(size)
    known = ModuleType("beside")
    known.__file__ = str(tmp_path / "beside.py")
    sys.modules["beside"] = known
    tracemalloc.start()
    try:
        found = data_beside("beside", set())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        del sys.modules["beside"]
    assert list(found) == [("beside", "large.bin")]
    assert peak_bytes < size / 8


def test_the_version_of_a_package_counts_where_the_mapping_uses_it(load: HASHES) -> None:
    used = load(
        (HR, "name.strip()", "orjson.dumps(name.strip()).decode()"), (HR, "import units", "import orjson, units")
    )
    assert any(package.startswith("orjson ") for package in used["person"].code.packages)
    assert not any(package.startswith("orjson ") for package in used["place"].code.packages)
    code = used["person"].code
    before = code.sha256()
    code.packages = {package.replace("orjson 3", "orjson 4") for package in code.packages}
    assert code.sha256() != before


def test_people_are_told_what_counts(load: HASHES) -> None:
    told = load()["person"].code.told()
    assert "sources.hr.mapping (Part, Row, TITLES, person, untitled)" in told
    assert "units (FACTORS, metres, rounded)" in told
    assert "entities (Person, spelled)" in told
    assert "pydantic " in told


def test_a_module_that_imports_its_own_parts_is_followed(load: HASHES) -> None:
    more = {"shapes____init__": "from . import round_ones\n", "shapes__round_ones": "def area(r):\n    return str(r)\n"}
    use = (HR, "name.strip()", "shapes.round_ones.area(name)"), (HR, "import units\n", "import shapes\nimport units\n")
    before = load(*use, **more)["person"].code_hash
    more["shapes__round_ones"] = more["shapes__round_ones"].replace("str(r)", "str(2 * r)")
    assert before != load(*use, **more)["person"].code_hash


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("re", Kind.GIVEN),
        ("sys", Kind.GIVEN),
        ("os.path", Kind.GIVEN),
        ("sluice.entities", Kind.GIVEN),
        ("importlib.util", Kind.LOOKS_UP),
        ("pydantic.alias_generators", Kind.PACKAGE),
        ("yaml", Kind.PACKAGE),
        ("support.workers", Kind.AUTHORED),
        ("no_such_module.anywhere", Kind.ABSENT),
    ],
)
def test_modules_are_told_apart_by_where_they_lie(module: str, kind: Kind) -> None:
    assert kind_of(module) is kind
